import type { ServiceRef, SluiceClient } from '../client/client-types';
import type { ReleaseStatus } from '../workflows/api';
import type { InterruptSignal } from './cli';
import { safeText, truncate } from './display-width';
import { EXIT, exitCodeOfStatus } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { changeLines, newEvents, renderFrame } from './live-view';
import { API_VERSION } from './output';
import { FRAME_MS, Screen } from './screen';
import { refName } from './service-ref';
import type { Session } from './session';
import { glyphs, paint, toAscii } from './style';

/** How a followed release is shown while it runs. */
export type View =
  | 'frame' // redrawn in place on stdout, which is a terminal
  | 'lines' // a line per change on stdout
  | 'notes' // a line per change on stderr: stdout is kept for the result
  | 'news' // the same without what was before: from its newest change on
  | 'events' // an event per line on stdout, as JSON
  | 'none';

export interface FollowOptions {
  readonly view: View | Viewer;
  /** Ends the following when it is true of a status; that the release ended always does. */
  readonly until?: (status: ReleaseStatus) => boolean;
  /** Ends it as soon as the release waits for a person. */
  readonly stopOnHold?: boolean;
  readonly timeoutMs?: number;
}

export type FollowEnd =
  | { readonly kind: 'ended' | 'reached' | 'held'; readonly status: ReleaseStatus }
  | ({ readonly kind: 'timeout' } & Unfinished)
  | ({ readonly kind: 'interrupted'; readonly signal: InterruptSignal } & Unfinished);

interface Unfinished {
  /** Null where none was seen. */
  readonly status: ReleaseStatus | null;
  /** It was seen to wait in the queue. */
  readonly queued?: boolean;
}

/** Follows a release to its end or to what is waited for. Ctrl-C and SIGTERM end the following, never the release. */
export async function follow(
  session: Session,
  client: SluiceClient,
  ref: ServiceRef,
  options: FollowOptions,
): Promise<FollowEnd> {
  const abort = new AbortController();
  let cut: 'timeout' | InterruptSignal | null = null;
  const stop = (why: 'timeout' | InterruptSignal): void => {
    cut ??= why;
    abort.abort();
  };
  const unsubscribe = session.cli.onInterrupt(stop);
  const timer = options.timeoutMs === undefined ? null : setTimeout(() => stop('timeout'), options.timeoutMs);
  const shown = typeof options.view === 'string' ? createViewer(session, options.view) : options.view;
  let last: ReleaseStatus | null = null;
  try {
    const statuses = client.watch(ref, { signal: abort.signal, onTrouble: (sentence) => shown.trouble(sentence) });
    for await (const status of statuses) {
      if (status.simulated) session.markSimulated();
      shown.show(status);
      last = status;
      // What is waited for comes first: a release that ended as wished has reached it, and not only ended.
      if (options.until?.(status) === true) return { kind: 'reached', status };
      if (isOver(status)) return { kind: 'ended', status };
      if (options.stopOnHold === true && isHeld(status)) return { kind: 'held', status };
      if (cut !== null) break;
    }
  } catch (error) {
    // An aborted watch may throw or just end, as its transport pleases.
    if (cut === null) throw error;
  } finally {
    if (timer !== null) clearTimeout(timer);
    unsubscribe();
    shown.finish();
  }
  if (cut === 'timeout') return { kind: 'timeout', status: last };
  if (cut !== null) return { kind: 'interrupted', signal: cut, status: last };
  if (last === null) throw new Error('a watch ended without a status');
  return { kind: 'ended', status: last };
}

/** Nothing is left to wait for: the old version that a promoted release still keeps is nobody's business but a roll back's. */
function isOver({ endedAt, keepOld }: ReleaseStatus): boolean {
  return endedAt !== null || (keepOld ?? null) !== null;
}

/** Whether the release goes on only with a person's help. */
export function isHeld(status: Pick<ReleaseStatus, 'phase'>): boolean {
  return status.phase === 'paused' || status.phase === 'awaitingApproval';
}

/** Says how a following ended and answers the exit code for it. */
export function reportEnd(session: Session, ref: ServiceRef, end: FollowEnd): ExitCode {
  switch (end.kind) {
    case 'ended':
      return exitCodeOfStatus(end.status);
    case 'reached':
      return EXIT.ok;
    case 'held':
      session.note(`${safeText(end.status.message)} ${continues(ref)}`);
      return EXIT.pending;
    case 'timeout':
      session.warn(`The timeout ran out. ${whatGoesOn(ref, end)}`);
      // A release that waits for a person is no slow release: CI may want to tell them apart.
      return end.status !== null && isHeld(end.status) ? EXIT.pending : EXIT.timeout;
    case 'interrupted':
      session.warn(whatGoesOn(ref, end));
      return end.signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated;
    default:
      return end satisfies never;
  }
}

function whatGoesOn(ref: ServiceRef, { status, queued }: Unfinished): string {
  if (status !== null) return continues(ref);
  return queued === true ? staysQueued(ref) : waits(ref);
}

function continues(ref: ServiceRef): string {
  const name = refName(ref);
  return `The release continues. Reattach: \`sluice watch ${name}\`, take it back: \`sluice rollback ${name}\`.`;
}

/** Not one word of rolling back: the release under way is another one. */
function waits(ref: ServiceRef): string {
  const release = ref.release === undefined ? '' : ` --release ${ref.release}`;
  return `It was not seen yet and goes on without this command; a queued release begins when its turn comes. Watch it: \`sluice watch ${refName(ref)}${release}\`.`;
}

function staysQueued(ref: ServiceRef): string {
  const named = `${refName(ref)}${ref.release === undefined ? '' : ` --release ${ref.release}`}`;
  return `The release stays in the queue, and begins without this command when its turn comes. Watch it: \`sluice watch ${named}\`, withdraw it: \`sluice rollback ${named}\`.`;
}

/** Shows a release that is followed. */
export interface Viewer {
  show(status: ReleaseStatus): void;
  trouble(sentence: string): void;
  finish(): void;
}

function createViewer(session: Session, view: View): Viewer {
  switch (view) {
    case 'frame':
      return createFrameViewer(session);
    case 'lines':
      return createLineViewer(session, (line) => session.print(line));
    case 'notes':
      return createLineViewer(session, (line) => session.note(line));
    case 'news':
      return createLineViewer(session, (line) => session.note(line), 'newest');
    case 'events':
      return createEventViewer(session);
    case 'none':
      return { show: () => undefined, trouble: (sentence) => session.note(sentence), finish: () => undefined };
    default:
      return view satisfies never;
  }
}

/** The status to draw changes rarely, its countdowns every second: a clock redraws, and the screen skips equal frames. */
export function createFrameViewer(session: Session, footer: () => readonly string[] = () => []): Viewer {
  const { cli } = session;
  const screen = new Screen(cli.stdout);
  let status: ReleaseStatus | null = null;
  let trouble: string | null = null;
  const frame = (): string[] => {
    if (status === null) return [];
    const { look } = session;
    const g = glyphs(look);
    // Asked for at each frame: the terminal may have been resized.
    const columns = cli.stdout.columns ?? 0;
    // A terminal that does not know how wide it is says 0.
    const width = (columns > 0 ? columns : look.width) - session.mark('').length;
    const lines = renderFrame(status, { ...look, width, now: cli.now() });
    for (const line of footer()) lines.push(paint(truncate(line, width, g.ellipsis), 'dim', look));
    if (trouble !== null) {
      lines.push(paint(truncate(`${g.warn} ${toAscii(safeText(trouble), look)}`, width, g.ellipsis), 'warn', look));
    }
    return lines.map((line) => session.mark(line));
  };
  const clock = setInterval(() => screen.draw(frame()), FRAME_MS);
  return {
    show(next) {
      status = next;
      trouble = null;
    },
    trouble(sentence) {
      trouble = sentence;
    },
    finish() {
      clearInterval(clock);
      screen.finish(frame());
    },
  };
}

/** A line for each change, never redrawn; of those before its first look all, or only the newest, by which it stands. */
export function createLineViewer(
  session: Session,
  print: (line: string) => void,
  past: 'all' | 'newest' = 'all',
): Viewer {
  let previous: ReleaseStatus | null = null;
  return {
    show(status) {
      const lines = changeLines(previous, status, session.look);
      for (const line of previous === null && past === 'newest' ? lines.slice(-1) : lines) print(line);
      tellTrouble(session, previous, status);
      if (status.waits !== undefined && status.waits !== previous?.waits) print(safeText(status.waits));
      previous = status;
    },
    trouble: (sentence) => session.warn(sentence),
    finish: () => undefined,
  };
}

/** Once for each reason: how often it was tried is in every status. */
function tellTrouble(session: Session, previous: ReleaseStatus | null, { trouble, message }: ReleaseStatus): void {
  if (trouble !== undefined && trouble !== previous?.trouble) session.warn(message);
}

function createEventViewer(session: Session): Viewer {
  let previous: ReleaseStatus | null = null;
  return {
    show(status) {
      const { service, namespace, release, simulated } = status;
      for (const event of newEvents(previous, status)) {
        session.emit({
          apiVersion: API_VERSION,
          kind: 'ReleaseEvent',
          service,
          namespace,
          release,
          simulated,
          ...event,
        });
      }
      tellTrouble(session, previous, status);
      previous = status;
    },
    trouble: (sentence) => session.warn(sentence),
    finish: () => undefined,
  };
}

/** How `watch` shows a release: by what stdout is and what was asked for. */
export function chooseView(session: Session): View {
  if (session.format === 'jsonl') return 'events';
  if (session.format !== 'table') return 'notes';
  return session.cli.stdout.isTTY === true && session.cli.env['TERM'] !== 'dumb' ? 'frame' : 'lines';
}
