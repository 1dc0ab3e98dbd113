import { endpoint } from '../flags/server/endpoint';
import type { Asked, Endpoint } from '../flags/server/endpoint';
import type { ServiceRef } from '../client/client-types';
import type { Principal } from '../flags/access';
import { listReleases } from './list-releases';
import { tellRelease } from './messages';
import { requireReleaseRole } from './release-access';
import { asProblem } from './release-problems';
import type { ReleaseStreams } from './release-streams';
import {
  AckAnswer,
  Decision,
  HistoryAnswer,
  ListAnswer,
  ListQuery,
  Message,
  ReleaseQuery,
  RollBack,
  SetWeight,
  StartAnswer,
  StartQuery,
  StartRelease,
  StatusAnswer,
} from './schemas';
import { ServerDefaults } from './server-defaults';
import { serviceOf } from './service-of';
import { startRelease } from './start-release';
import type { TemporalLink } from './temporal-link';

export interface ReleaseParts {
  readonly temporal: TemporalLink;
  readonly streams: ReleaseStreams;
}

const RELEASES = '/api/releases';
const RELEASE = `${RELEASES}/{namespace}/{service}`;

const AWAY = ['unreachable', 'timeout', 'no-worker'] as const;
/** Of a release that is asked for by its id. */
const OF_ONE = ['not-found', 'queued', 'superseded', 'withdrawn', ...AWAY] as const;

const common = {
  of: 'releases',
  role: 'read',
  body: null,
  query: null,
  bodyLimit: ServerDefaults.maxMessageBytes,
  writes: null,
  conditional: false,
  hot: false,
} as const;

/** What the messages to a release have in common. */
const told = {
  ...common,
  role: 'write',
  writes: 'adds',
  answers: { 200: { description: 'What was recorded.', schema: AckAnswer } },
  problems: ['not-found', 'conflict', 'superseded', 'withdrawn', 'unsupported', ...AWAY],
} as const;

/** Most of them say enough without a body. */
const message = { ...told, method: 'POST', bodyOptional: true } as const;

/** The endpoints of releases. */
export function releaseEndpoints({ temporal, streams }: ReleaseParts): readonly Endpoint[] {
  const endpoints: Endpoint[] = [
    endpoint({
      ...common,
      method: 'GET',
      path: RELEASES,
      id: 'listReleases',
      summary: 'List releases, newest first',
      query: ListQuery,
      answers: { 200: { description: 'Those the key may see.', schema: ListAnswer } },
      problems: AWAY,
      handle: async ({ principal, query }) => ({
        status: 200,
        body: await listReleases(await temporal.client(), principal, query),
      }),
    }),
    endpoint({
      ...common,
      method: 'POST',
      path: RELEASES,
      id: 'startRelease',
      summary: 'Start a release: a spec, and what to release. What is not in the body may be in the query',
      role: 'write',
      body: StartRelease,
      yamlAs: 'spec',
      query: StartQuery,
      bodyLimit: ServerDefaults.maxStartBytes,
      writes: 'adds',
      answers: {
        201: { description: 'It has started.', schema: StartAnswer },
        202: { description: 'It begins when the one before it has ended.', schema: StartAnswer },
      },
      problems: ['usage', 'invalid-spec', 'conflict', ...AWAY],
      handle: (asked) => startRelease(temporal, asked),
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: RELEASE,
      id: 'releaseStatus',
      summary: 'How a release stands: the whole state',
      query: ReleaseQuery,
      answers: { 200: { description: 'As `sluice status -o json` has it.', schema: StatusAnswer } },
      problems: OF_ONE,
      handle: async (asked) => {
        const ref = readable(asked);
        return { status: 200, body: await (await temporal.client()).status(ref) };
      },
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: `${RELEASE}/history`,
      id: 'releaseHistory',
      summary: 'The story of a release: what, when, why and who',
      query: ReleaseQuery,
      answers: { 200: { description: 'As `sluice history -o json` has it.', schema: HistoryAnswer } },
      problems: OF_ONE,
      handle: async (asked) => {
        const ref = readable(asked);
        const { namespace, service, release, simulated, events } = await (await temporal.client()).status(ref);
        return {
          status: 200,
          body: {
            apiVersion: 'sluice.dev/v1',
            kind: 'ReleaseHistory',
            ...{ namespace, service, release, simulated, items: events },
          },
        };
      },
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: `${RELEASE}/events`,
      id: 'releaseEvents',
      summary: 'The story of a release as it happens, by server-sent events; Last-Event-ID takes it up again',
      query: ReleaseQuery,
      answers: {
        200: { description: 'To the end of the release.', schema: null, type: 'text/event-stream' },
        204: { description: 'The release is over, and all of it was told.', schema: null },
      },
      problems: [...OF_ONE, 'too-many-streams'],
      handle: (asked) => streams.open(readable(asked), asked.lastEventId),
    }),
    endpoint({
      ...message,
      path: `${RELEASE}/approve`,
      id: 'approveRelease',
      summary: 'Let a release go on from the approval that waits',
      body: Decision,
      handle: (asked) =>
        tellRelease(temporal, asked, {
          raises: true,
          send: (client, { ref, content, options }) =>
            client.approve(ref, { ...content, ...stepOf(asked.body) }, options),
        }),
    }),
    endpoint({
      ...message,
      path: `${RELEASE}/reject`,
      id: 'rejectRelease',
      summary: 'Refuse the approval that waits: the release rolls back',
      body: Decision,
      handle: (asked) =>
        tellRelease(temporal, asked, {
          send: (client, { ref, content, options }) =>
            client.reject(ref, { ...content, ...stepOf(asked.body) }, options),
        }),
    }),
    endpoint({
      ...message,
      path: `${RELEASE}/pause`,
      id: 'pauseRelease',
      summary: 'Hold a release at its weight',
      body: Message,
      handle: (asked) =>
        tellRelease(temporal, asked, {
          send: (client, { ref, content, options }) => client.pause(ref, content, options),
        }),
    }),
    endpoint({
      ...message,
      path: `${RELEASE}/resume`,
      id: 'resumeRelease',
      summary: 'Let a paused release go on',
      body: Message,
      handle: (asked) =>
        tellRelease(temporal, asked, {
          raises: true,
          send: (client, { ref, content, options }) => client.resume(ref, content, options),
        }),
    }),
    endpoint({
      ...message,
      path: `${RELEASE}/promote`,
      id: 'promoteRelease',
      summary: 'Make the new version the stable one now, without the steps that are left',
      body: Message,
      handle: (asked) =>
        tellRelease(temporal, asked, {
          raises: true,
          send: (client, { ref, content, options }) => client.promote(ref, content, options),
        }),
    }),
    endpoint({
      ...message,
      path: `${RELEASE}/rollback`,
      id: 'rollBackRelease',
      summary: 'Take a release back, traffic first; one that only waits, named by its id, is not started',
      body: RollBack,
      handle: (asked) => {
        const { abandon } = asked.body;
        return tellRelease(temporal, asked, {
          ...(abandon === true ? { role: 'admin' } : {}),
          send: (client, { ref, content, options }) =>
            client.rollback(ref, { ...content, ...(abandon === undefined ? {} : { abandon }) }, options),
        });
      },
    }),
    endpoint({
      ...message,
      path: `${RELEASE}/skip-soak`,
      id: 'skipSoak',
      summary: 'End the present soak early',
      body: Message,
      handle: (asked) =>
        tellRelease(temporal, asked, {
          raises: true,
          send: (client, { ref, content, options }) => client.skipSoak(ref, content, options),
        }),
    }),
    endpoint({
      ...told,
      method: 'PUT',
      path: `${RELEASE}/weight`,
      id: 'setReleaseWeight',
      summary: 'Set the weight by hand; the release then pauses',
      body: SetWeight,
      handle: (asked) =>
        tellRelease(temporal, asked, {
          raises: true,
          send: (client, { ref, content, options }) =>
            client.setWeight(ref, { ...content, weight: asked.body.weight }, options),
        }),
    }),
  ];
  return endpoints.map(inHttpTerms);
}

/** The release that is asked about, of a namespace whose releases the key may see. */
function readable(asked: {
  readonly principal: Principal;
  readonly params: Asked<unknown, unknown>['params'];
  readonly query: { readonly release?: string | undefined };
}): ServiceRef {
  const ref = serviceOf(asked.params, asked.query.release);
  requireReleaseRole(asked.principal, 'read', ref.namespace);
  return ref;
}

function stepOf({ step }: { readonly step?: number | undefined }): { readonly step?: number } {
  return step === undefined ? {} : { step };
}

/** What the client throws becomes a problem. */
function inHttpTerms(described: Endpoint): Endpoint {
  return {
    ...described,
    handle: async (asked) => {
      try {
        return await described.handle(asked);
      } catch (error) {
        throw asProblem(error);
      }
    },
  };
}
