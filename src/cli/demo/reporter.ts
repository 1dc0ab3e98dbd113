import type { ReleaseStatus } from '../../workflows/api';
import type { ExitCode } from '../exit-codes';
import { createFrameViewer, createLineViewer } from '../follow';
import type { Viewer } from '../follow';
import { newEvents } from '../live-view';
import { API_VERSION, errorDocument } from '../output';
import { reportError } from '../session';
import type { Session } from '../session';
import { paint } from '../style';
import type { Load, LoadCounts } from './load';

/** How the demo tells what happens: to people, or as one JSON event a line. */
export interface DemoReporter {
  setUp(sentence: string, data: object): void;
  releasing(version: string, release: string): void;
  viewer(load: Load): Viewer;
  released(version: string, status: ReleaseStatus): void;
  counts(counts: LoadCounts): void;
  /** An error that ends the demo; answers its exit code. */
  failed(error: unknown): ExitCode;
  /** The last line of stdout. */
  finish(line: string): void;
}

export function createReporter(session: Session): DemoReporter {
  return session.format === 'table' ? createPeopleReporter(session) : createJsonReporter(session);
}

function createPeopleReporter(session: Session): DemoReporter {
  const { cli, look } = session;
  const live = cli.stdout.isTTY === true && cli.env['TERM'] !== 'dumb';
  return {
    setUp: (sentence) => session.print(sentence),
    releasing(version) {
      session.print('');
      session.print(paint(`Releasing ${version}`, 'strong', look));
    },
    viewer(load) {
      if (live) return createFrameViewer(session, () => [countsLine(load.counts())]);
      return createLineViewer(session, (line) => session.print(line));
    },
    released: () => undefined,
    counts(counts) {
      session.print('');
      session.print(countsLine(counts));
    },
    failed: (error) => reportError(cli, error, { format: 'table', look: session.noteLook }),
    finish: (line) => session.print(line),
  };
}

function countsLine({ sent, stable, canary, unanswered }: LoadCounts): string {
  const of = ({ answers, errors }: LoadCounts['stable']): string => `${answers} answers, ${errors} errors`;
  return `Load     ${sent} sent  stable ${of(stable)}  canary ${of(canary)}  unanswered ${unanswered}`;
}

function createJsonReporter(session: Session): DemoReporter {
  const emit = (type: string, data: object): void =>
    session.emit({ apiVersion: API_VERSION, kind: 'DemoEvent', type, at: session.cli.now(), ...data });
  return {
    setUp: (message, data) => emit('setUp', { message, ...data }),
    releasing: (version, release) => emit('releasing', { version, release }),
    viewer: (load) => createJsonViewer(load, emit),
    released: (version, { release, outcome, message }) => emit('released', { version, release, outcome, message }),
    counts: (counts) => emit('load', counts),
    failed(error) {
      emit('error', errorDocument(error).error);
      return reportError(session.cli, error, { format: 'table', look: session.noteLook });
    },
    finish: (line) => session.print(line),
  };
}

/** Each event of the story and each measurement; at each weight change the share that the users themselves saw. */
function createJsonViewer(load: Load, emit: (type: string, data: object) => void): Viewer {
  let previous: ReleaseStatus | null = null;
  let measuredAt = 0;
  return {
    show(status) {
      const { release, version } = status;
      for (const event of newEvents(previous, status)) {
        const share = event.type === 'weightChanged' ? load.takeShare() : null;
        emit('event', {
          version: version.to,
          release,
          event,
          ...(share === null ? {} : { shareBefore: rounded(share) }),
        });
      }
      for (const measurement of status.measurements.filter(({ at }) => at > measuredAt)) {
        measuredAt = measurement.at;
        const { weight, observedShare, verdict, sentence, metrics } = measurement;
        emit('measurement', { version: version.to, release, weight, observedShare, verdict, sentence, metrics });
      }
      previous = status;
    },
    trouble: (message) => emit('trouble', { message }),
    finish: () => undefined,
  };
}

function rounded(fraction: number): number {
  return Math.round(fraction * 10_000) / 10_000;
}
