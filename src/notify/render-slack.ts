import type { Actor, EventType, Phase, ReleaseEvent, ReleaseStatus, StepState, StepStatus } from '../workflows/api';
import { slackText } from './slack-text';

/** The Block Kit blocks used, a part of https://docs.slack.dev/reference/block-kit/blocks. */
export type SlackBlock =
  | { readonly type: 'section'; readonly text: { readonly type: 'mrkdwn'; readonly text: string } }
  | { readonly type: 'context'; readonly elements: { readonly type: 'mrkdwn'; readonly text: string }[] };

export interface SlackMessage {
  /** For notifications and screen readers, and where blocks cannot be shown. */
  readonly text: string;
  readonly blocks: SlackBlock[];
}

/** Slack's limit of a section's text is 3000 characters. */
const SECTION_LENGTH = 2_900;

const PHASES: Record<Phase, { readonly icon: string; readonly word: string }> = {
  starting: { icon: '◌', word: 'starting' },
  deploying: { icon: '◌', word: 'deploying' },
  smokeTesting: { icon: '◌', word: 'smoke test' },
  shifting: { icon: '◌', word: 'shifting traffic' },
  soaking: { icon: '◌', word: 'analysing' },
  awaitingApproval: { icon: '✋', word: 'waiting for approval' },
  paused: { icon: '⏸', word: 'paused' },
  promoting: { icon: '◌', word: 'promoting' },
  cleaningUp: { icon: '◌', word: 'cleaning up' },
  rollingBack: { icon: '↩', word: 'rolling back' },
  promoted: { icon: '✔', word: 'promoted' },
  cleanedUp: { icon: '✔', word: 'cleaned up' },
  rolledBack: { icon: '↩', word: 'rolled back' },
  failed: { icon: '✖', word: 'failed: a person is needed' },
};

interface News {
  readonly icon: string;
  readonly word: string;
  readonly loud?: true;
}

const REFUSED: News = { icon: '✖', word: 'refused, nothing was changed' };

const STEPS: Record<StepState, string> = { pending: '•', running: '◌', passed: '✔', failed: '✖', skipped: '–' };

/**
 * Events that are told in the thread, with their words. All others only show in the edited message. `loud`: also
 * shown in the channel, because somebody has to act.
 */
const NEWS: Partial<Record<EventType, News>> = {
  approvalRequested: { icon: '✋', word: 'approval requested', loud: true },
  approved: { icon: '✔', word: 'approved' },
  rejected: { icon: '✖', word: 'rejected' },
  approvalExpired: { icon: '✖', word: 'approval expired' },
  stepFailed: { icon: '✖', word: 'step failed' },
  paused: { icon: '⏸', word: 'paused' },
  resumed: { icon: '◌', word: 'resumed' },
  weightUncertain: { icon: '⚠', word: 'weight uncertain', loud: true },
  foreignEdit: { icon: '⚠', word: 'changed by somebody else' },
  misrouted: { icon: '⚠', word: 'weight not delivered' },
  guardTripped: { icon: '⚠', word: 'guard tripped' },
  rollbackStarted: { icon: '↩', word: 'rolling back' },
  compensationFailed: { icon: '✖', word: 'roll back is stuck', loud: true },
  rolledBack: { icon: '↩', word: 'rolled back' },
  promoted: { icon: '✔', word: 'promoted' },
  failed: { icon: '✖', word: 'failed: a person is needed', loud: true },
};

/** The release's one message: what, where to, how far, why, who. */
export function renderMessage(status: ReleaseStatus): SlackMessage {
  const phase = status.refused === true ? REFUSED : PHASES[status.phase];
  const versions = `${slackText(status.version.from ?? '?', 200)} → ${slackText(status.version.to, 200)}`;
  const name = slackText(qualifiedName(status), 200);
  const simulated = status.simulated ? ' (simulated metrics)' : '';
  const state = `${phase.icon} *${phase.word}*${simulated}`;
  const message = slackText(status.message);
  return {
    text: `${name} ${versions}: ${phase.word}${simulated}`,
    blocks: [
      section(`*${name}*  ${versions}\n${state}${message === '' ? '' : ` ${message}`}`),
      section(renderSteps(status.steps)),
      { type: 'context', elements: [{ type: 'mrkdwn', text: renderContext(status) }] },
    ],
  };
}

/** A reply in the release's thread; null for an event that is no news. */
export function renderNews(
  event: ReleaseEvent,
  { refused }: Pick<ReleaseStatus, 'refused'> = {},
): (SlackMessage & { readonly loud: boolean }) | null {
  // Nothing was changed then, so that there is no way back to tell of.
  if (refused === true && event.type === 'rollbackStarted') return null;
  const news = refused === true && event.type === 'rolledBack' ? REFUSED : NEWS[event.type];
  if (news === undefined) return null;
  const lines = [`${news.icon} *${news.word}*: ${slackText(event.message)}`];
  const evidence = event.evidence === undefined ? '' : slackText(event.evidence.sentence, 1_000);
  if (evidence !== '' && !lines[0]?.includes(evidence)) lines.push(`> ${evidence}`);
  if (event.actor.via !== 'workflow') lines.push(`by ${renderActor(event.actor)}`);
  const text = lines.join('\n');
  return { text, blocks: [section(text)], loud: news.loud === true };
}

function renderSteps(steps: readonly StepStatus[]): string {
  const lines = steps.map(renderStep);
  // A hundred steps do not fit: the ones that are over go first, the running one and its neighbours stay.
  let hidden = 0;
  while (lines.join('\n').length > SECTION_LENGTH - 40 && lines.length > 1) {
    const running = steps.findIndex((step) => step.state === 'running' || step.state === 'pending') - hidden;
    if (running > lines.length / 2 || running < 0) {
      lines.shift();
      hidden += 1;
    } else {
      lines.pop();
    }
  }
  const left = steps.length - hidden - lines.length;
  const before = hidden === 0 ? [] : [`… ${hidden} steps before`];
  const after = left === 0 ? [] : [`… ${left} steps more`];
  return [...before, ...lines, ...after].join('\n');
}

function renderStep(step: StepStatus): string {
  const name = `${STEPS[step.state]} ${slackText(step.name, 100)}`;
  const told = step.state === 'failed' || step.state === 'running';
  const sentence = step.sentence ?? step.evidence?.sentence ?? '';
  return told && sentence !== '' ? `${name}: ${slackText(sentence, 300)}` : name;
}

function renderContext(status: ReleaseStatus): string {
  const observed = status.observedShare === null ? '' : ` (observed ${round(status.observedShare * 100)} %)`;
  const reason =
    status.reason === null || status.reason.trim() === '' ? [] : [`reason: ${slackText(status.reason, 300)}`];
  return [
    `weight ${round(status.weight)} %${observed}`,
    `started by ${renderActor(status.startedBy)}`,
    ...reason,
    `release ${slackText(status.release, 200)}`,
  ].join('  ·  ');
}

function renderActor(actor: Actor): string {
  return `${slackText(actor.name, 100)} (${actor.via})`;
}

function qualifiedName(status: ReleaseStatus): string {
  return status.namespace === 'default' ? status.service : `${status.namespace}/${status.service}`;
}

function section(text: string): SlackBlock {
  // A section must not be empty.
  return { type: 'section', text: { type: 'mrkdwn', text: text === '' ? '–' : text } };
}

/** One decimal at most: 24.6, 5. */
function round(percent: number): string {
  return String(Math.round(percent * 10) / 10);
}
