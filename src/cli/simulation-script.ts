import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, ReleaseError } from '../errors';
import type { SimulatedPhase } from '../spec/plan-types';

const Phase = z.strictObject({
  fromWeight: z.number().min(0).max(100),
  errorRate: z.number().min(0).max(1),
  p95: z.number().min(0),
  noData: z.boolean().optional(),
});
const Script = z.array(Phase).min(1);

const HEALTHY: SimulatedPhase = { fromWeight: 0, errorRate: 0.001, p95: 0.12 };
const FAILING = { errorRate: 0.2, p95: 2.5 };

/**
 * What `--simulate` names: `healthy`, `failing@WEIGHT` (healthy below that weight), `no-data`, or the path of a YAML
 * file with a list of `{fromWeight, errorRate, p95, noData}`.
 */
export async function parseScript(text: string): Promise<readonly SimulatedPhase[]> {
  if (text === 'healthy') return [HEALTHY];
  if (text === 'no-data') return [{ ...HEALTHY, noData: true }];
  const failing = /^failing(?:@(\d{1,3}))?$/u.exec(text);
  if (failing !== null) {
    const fromWeight = Number(failing[1] ?? 0);
    if (fromWeight > 100) throw unknownScript(text);
    return fromWeight === 0 ? [{ fromWeight, ...FAILING }] : [HEALTHY, { fromWeight, ...FAILING }];
  }
  return readScript(text);
}

async function readScript(path: string): Promise<readonly SimulatedPhase[]> {
  let content: string;
  try {
    content = await readFile(path, 'utf8');
  } catch (error) {
    throw unknownScript(path, error);
  }
  try {
    return Script.parse(parse(content)).map(({ noData, ...phase }) =>
      noData === undefined ? phase : { ...phase, noData },
    );
  } catch (error) {
    const detail = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    throw new ReleaseError('usage', `The script ${path} does not say what to simulate: ${detail}`, {
      hint: 'It is a list of {fromWeight: 25, errorRate: 0.2, p95: 0.5}; errorRate is a fraction, p95 seconds.',
      cause: error,
    });
  }
}

function unknownScript(text: string, cause?: unknown): ReleaseError {
  return new ReleaseError('usage', `There is no script ${JSON.stringify(text)} to simulate.`, {
    hint: 'Name one of healthy, failing@25 (the weight it fails from), no-data, or a YAML file.',
    cause,
  });
}
