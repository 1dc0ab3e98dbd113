/**
 * Text as Slack wants it: `&`, `<` and `>` escaped (https://docs.slack.dev/messaging/formatting-message-text), which
 * also disarms mentions and links in other people's text; on one line, clipped, and without anything that looks like
 * a secret.
 */
export function slackText(text: string, maxLength = 600): string {
  const line = withoutSecrets(text).replace(/\s+/g, ' ').trim();
  const clipped = line.length <= maxLength ? line : `${line.slice(0, maxLength - 1)}…`;
  return clipped.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** A last net under what people type as reasons: tokens, keys and passwords in URLs become `[removed]`. */
function withoutSecrets(text: string): string {
  return text
    .replace(/\bxox[a-z]+-[\w-]+|\bxapp-[\w-]+/gi, '[removed]')
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, '$1 [removed]')
    .replace(/\b(token|password|passwd|secret|api[-_]?key|routing_key)(\s*[=:]\s*)[^\s,;&]+/gi, '$1$2[removed]')
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi, '$1[removed]@');
}
