import type { z } from 'zod';
import { ReleaseError } from '../errors';
import { FlagProblem, Problem } from '../flags/problem';
import type { Answer, Asked } from '../flags/server/endpoint';
import { FLAG_VERSION } from '../spec/defaults';
import { parseSpec } from '../spec/load';
import type { ReleaseSpec, SpecProblem } from '../spec/load';
import { plan } from '../spec/plan';
import { actorOf, requireReleaseRole, requireTargetRole } from './release-access';
import { RELEASE_PROBLEMS } from './release-problems';
import { repeatKeyOf } from './repeats';
import type { StartQuery, StartRelease } from './schemas';
import { ServerDefaults } from './server-defaults';
import type { TemporalLink } from './temporal-link';

type Start = z.output<typeof StartRelease>;
type InQuery = z.output<typeof StartQuery>;

/** Problems named of one spec. */
const MAX_PROBLEMS = 20;

/** Starts the release of a spec in the name of who asks, or hands it to the queue of its service. */
export async function startRelease(temporal: TemporalLink, asked: Asked<Start, InQuery>): Promise<Answer> {
  const { principal } = asked;
  const { spec: given, reason, onConflict, ...named } = withQuery(asked.body, asked.query);
  const spec = readSpec(given);
  const { name: service, namespace } = spec.metadata;
  asked.note({ namespace, service, ...(reason === undefined ? {} : { reason }) });
  requireReleaseRole(principal, 'write', namespace);
  const planned = plan(spec, versionOf(spec, named));
  asked.note({ version: planned.version });
  requireTargetRole(principal, planned.target);
  const startKey = repeatKeyOf(asked);
  const client = await temporal.client();
  const { repeated = false, ...started } = await client.deploy(planned, {
    actor: actorOf(principal),
    ...(reason === undefined ? {} : { reason }),
    ...(onConflict === undefined ? {} : { onConflict }),
    ...(startKey === null ? {} : { startKey }),
  });
  asked.note({ release: started.release, state: started.state, ...(repeated ? { repeated } : {}) });
  return {
    status: started.state === 'started' ? 201 : 202,
    headers: {
      location: `/api/releases/${namespace}/${service}?release=${started.release}`,
      ...(repeated ? { 'idempotent-replayed': 'true' } : {}),
    },
    body: {
      apiVersion: 'sluice.dev/v1',
      kind: 'Deployment',
      ...{ service, namespace, version: planned.version },
      ...started,
    },
  };
}

/** What is said in the query counts where the body does not say it; both is somebody's mistake. */
function withQuery(body: Start, query: InQuery): Start {
  for (const name of ['version', 'image', 'reason', 'onConflict'] as const) {
    if (body[name] === undefined || query[name] === undefined) continue;
    throw new ReleaseError('usage', `${name} is in the body and in the query.`, { hint: 'Leave one of them out.' });
  }
  return { ...query, ...body };
}

function versionOf({ spec }: ReleaseSpec, { version, image }: Pick<Start, 'version' | 'image'>): string {
  if (version !== undefined && image !== undefined) {
    throw new ReleaseError('usage', 'version and image are both given, and mean the same.', {
      hint: 'Leave one of them out.',
    });
  }
  // A flag has no versions: what is released is that it is on.
  const named = version ?? image ?? (spec.target.flag === undefined ? undefined : FLAG_VERSION);
  if (named !== undefined) return named;
  throw new ReleaseError('usage', 'It is not said which version to release.', {
    hint: 'Give version or image, in the body beside spec or in the query.',
  });
}

function readSpec(given: Start['spec']): ReleaseSpec {
  // JSON is YAML, too.
  const text = typeof given === 'string' ? given : JSON.stringify(given);
  if (Buffer.byteLength(text) > ServerDefaults.maxSpecBytes) {
    throw new FlagProblem('body-too-large', `A spec has at most ${ServerDefaults.maxSpecBytes / 1024} KiB.`);
  }
  const read = parseSpec(text, 'spec');
  if (read.ok) return read.spec;
  throw invalidSpec(read.problems, typeof given === 'string');
}

/** All that is wrong with a spec. Places are of use where the caller wrote the text, and not an object. */
function invalidSpec(problems: readonly SpecProblem[], placed: boolean): Problem {
  const shown = problems.slice(0, MAX_PROBLEMS).map(({ path, message, line, column }) => ({
    where: path,
    message,
    ...(placed ? { line, column } : {}),
  }));
  const [first] = shown;
  const where = placed ? `line ${problems[0]?.line ?? 1}` : (first?.where ?? '');
  const more = problems.length - 1;
  const others = more === 0 ? '' : more === 1 ? ' There is 1 more problem.' : ` There are ${more} more problems.`;
  const sentence = (first?.message ?? '').replace(/\.$/, '');
  return new Problem(
    { code: 'invalid-spec', ...RELEASE_PROBLEMS['invalid-spec'] },
    `The spec is not valid: ${where === '' ? '' : `${where}: `}${sentence}.${others}`,
    { errors: shown },
  );
}
