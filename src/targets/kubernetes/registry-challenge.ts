/** One way in that a registry offers in `WWW-Authenticate` (RFC 9110, 11.6.1). */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const PARAMETER = /^([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))/;
const SCHEME = /^([\w!#$%&'*+.^`|~-]+)(?=\s|,|$)/;

/** Reads all challenges of a header; what is not understood ends the reading. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let rest = header.replace(/^[\s,]+/, '');
  while (rest !== '') {
    const current = challenges.at(-1);
    const parameter = current === undefined ? null : PARAMETER.exec(rest);
    const scheme = parameter === null ? SCHEME.exec(rest) : null;
    if (parameter !== null && current !== undefined) {
      const [, name = '', quoted, plain = ''] = parameter;
      current.parameters[name.toLowerCase()] = quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1');
    } else if (scheme !== null) {
      challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters: {} });
    } else {
      return challenges;
    }
    rest = rest.slice((parameter ?? scheme)?.[0].length ?? rest.length).replace(/^[\s,]+/, '');
  }
  return challenges;
}
