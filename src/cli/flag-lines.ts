import type { CheckAnswer, Explanation, FlagAnswer, StatsAnswer } from '../flags/answers';
import { safeText } from './display-width';
import { renderTable } from './output';
import { paint } from './style';
import type { Look } from './style';

/** Flags as people read them, one a row. */
export function flagTable(flags: readonly FlagAnswer[], look: Look): string[] {
  return renderTable(
    ['FLAG', 'STATE', 'PERCENTAGE', 'RELEASE', 'DESCRIPTION'],
    flags.map((flag) => [
      flag.name,
      flag.enabled ? 'on' : 'off',
      percentageOf(flag),
      flag.fence?.hold === true ? safeText(flag.fence.owner) : '',
      safeText(flag.description),
    ]),
    look,
  );
}

export function flagLines(flag: FlagAnswer, look: Look): string[] {
  const { environments, whitelist, blacklist, fence, description } = flag;
  const rows: (readonly [string, string])[] = [
    ['State', flag.enabled ? 'on' : paint('off', 'bad', look)],
    ['Percentage', percentageOf(flag)],
    ['Environments', environments.length === 0 ? 'all' : environments.map(safeText).join(', ')],
    ['Whitelist', counted(whitelist.length)],
    ['Blacklist', counted(blacklist.length)],
  ];
  if (fence?.hold === true) {
    const former = fence.former === null ? 'everybody' : `${fence.former} %`;
    rows.push(['Held by', `release ${safeText(fence.owner)}, which found ${former}`]);
  }
  return [
    paint(flag.name, 'strong', look),
    ...(description === '' ? [] : [safeText(description)]),
    ...rows.map(([name, value]) => `${name.padEnd(13)} ${value}`),
  ];
}

export function checkLines({ flag, user_id: user, enabled, reason, variant }: CheckAnswer, look: Look): string[] {
  const state = enabled ? paint('on', 'good', look) : paint('off', 'bad', look);
  return [`${flag} is ${state} for ${safeText(user)} by the rule ${reason} (variant ${safeText(variant)}).`];
}

export function explanationLines(answer: Explanation, look: Look): string[] {
  const { rules } = answer;
  return [
    ...checkLines(answer, look),
    ...rules.map(({ rule, decided, because }) => {
      const line = `${rule.padEnd(12)} ${safeText(because)}`;
      return `  ${decided ? paint(line, 'strong', look) : line}`;
    }),
  ];
}

export function statsLines(stats: StatsAnswer, look: Look): string[] {
  const row = (
    name: string,
    { total, enabled, disabled, unique_users: users }: Omit<StatsAnswer['by_day'][number], 'date'>,
  ) => [name, String(total), String(enabled), String(disabled), String(users)];
  const last = stats.last_evaluated_at;
  return [
    ...renderTable(
      ['DAY', 'CHECKS', 'ON', 'OFF', 'USERS'],
      [...stats.by_day.map((day) => row(day.date, day)), row(`${stats.days} days`, stats)],
      look,
    ),
    last === null ? 'It was never asked for.' : `Last asked for at ${last}.`,
  ];
}

function percentageOf({ rollout_percentage: percentage }: FlagAnswer): string {
  return percentage === null ? 'everybody' : `${percentage} %`;
}

function counted(users: number): string {
  return users === 1 ? '1 user' : `${users} users`;
}
