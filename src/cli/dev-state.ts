import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { isAlive } from '../devserver/process-identity';
import { probe } from './probe';

/** What a running `sluice dev` leaves behind so that every other command finds it. */
export interface DevConnection {
  readonly pid: number;
  /** `host:port` of Temporal. */
  readonly address: string;
  readonly namespace: string;
  readonly uiUrl: string | null;
  readonly startedAt: number;
}

const DevConnection = z.object({
  pid: z.int().min(1),
  address: z.string().min(1),
  namespace: z.string().min(1),
  uiUrl: z.string().nullable(),
  startedAt: z.number(),
});

/** `$XDG_STATE_HOME/sluice/dev`: where `sluice dev` keeps its state, and always its connection file. */
export function devStateDirectory(env: NodeJS.ProcessEnv): string {
  const given = env['XDG_STATE_HOME'];
  // The XDG specification has relative paths ignored.
  const base =
    given !== undefined && path.isAbsolute(given) ? given : path.join(env['HOME'] ?? homedir(), '.local', 'state');
  return path.join(base, 'sluice', 'dev');
}

function connectionFile(env: NodeJS.ProcessEnv): string {
  return path.join(devStateDirectory(env), 'connection.json');
}

/** The running `sluice dev` of this user; null when there is none. What a crash left behind does not count. */
export async function findDev(env: NodeJS.ProcessEnv): Promise<DevConnection | null> {
  let content: string;
  try {
    content = await readFile(connectionFile(env), 'utf8');
  } catch {
    // Not there, or not ours to read: either way there is nothing to be found by it.
    return null;
  }
  const parsed = DevConnection.safeParse(parseJson(content));
  if (!parsed.success || !isAlive(parsed.data.pid)) return null;
  // A process id may have been given to another program since; only one that also answers is ours.
  return (await probe(parsed.data.address)) === 'listening' ? parsed.data : null;
}

export async function writeDevConnection(env: NodeJS.ProcessEnv, connection: DevConnection): Promise<void> {
  const file = connectionFile(env);
  await mkdir(path.dirname(file), { recursive: true });
  // Renamed into place: a command that reads at this moment sees the old file or the new one, never half of it.
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(connection, null, 2)}\n`);
  await rename(temporary, file);
}

/** Removes the file, unless another `sluice dev` has written it since. */
export async function removeDevConnection(env: NodeJS.ProcessEnv, pid: number): Promise<void> {
  const file = connectionFile(env);
  const parsed = DevConnection.safeParse(parseJson(await readFile(file, 'utf8').catch(() => '')));
  if (parsed.success && parsed.data.pid === pid) await rm(file, { force: true });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
