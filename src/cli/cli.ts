import type { Logger } from 'pino';
import type { SluiceClient } from '../client/client-types';
import type { TemporalBinary } from '../devserver/find-temporal';
import type { RunningTemporal, StartTemporalOptions } from '../devserver/start-temporal';
import type { SpecTools } from './spec-source';

/** What `connect` is told; everything left out comes from the environment, a profile, `sluice dev` or the default. */
export interface ConnectChoice {
  readonly address?: string;
  readonly namespace?: string;
  readonly profile?: string;
}

export interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

export type InterruptSignal = 'SIGINT' | 'SIGTERM';

export interface WorkerChoice extends ConnectChoice {
  readonly taskQueue?: string;
  /** 0: a free one. Left out: no health endpoint. */
  readonly healthPort?: number;
  /** Where the health endpoint listens; 127.0.0.1 when left out. */
  readonly healthHost?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly logger?: Logger;
}

/** A worker that hosts the workflows and activities in this process. */
export interface RunningWorker {
  /** Resolves when it has stopped; rejects when it failed. */
  readonly stopped: Promise<void>;
  stop(): Promise<void>;
  readonly healthUrl: string | null;
}

/**
 * Everything a command touches outside itself. The real one is `createCli`; tests bring their own, so that each
 * command runs in them as it is.
 */
export interface Cli {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream & NodeJS.WritableStream;
  readonly env: NodeJS.ProcessEnv;
  readonly version: string;
  readonly spec: SpecTools;
  now(): number;
  connect(choice: ConnectChoice): Promise<SluiceClient>;
  startWorker(choice: WorkerChoice): Promise<RunningWorker>;
  findTemporal(onProgress: (line: string) => void): Promise<TemporalBinary>;
  startTemporal(options: StartTemporalOptions): Promise<RunningTemporal>;
  /** Calls back on Ctrl-C and SIGTERM instead of ending the process, until the returned function is called. */
  onInterrupt(listener: (signal: InterruptSignal) => void): () => void;
}
