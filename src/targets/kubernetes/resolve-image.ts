import { createHash } from 'node:crypto';
import { z } from 'zod';
import { createHttpClient, describeHttpFailure, displayUrl, HttpFailure } from '../../metrics/http';
import type { HttpAnswer, HttpClient } from '../../metrics/http';
import { parseImage } from '../../spec/image-reference';
import type { ImageReference } from '../../spec/image-reference';
import { TargetFailure } from '../target';
import { REGISTRY_DEFAULTS } from './defaults';
import { parseChallenges } from './registry-challenge';
import { REGISTRY_CONFIG_ENV, registryLogin } from './registry-login';
import type { RegistryLogin } from './registry-login';

export interface ResolveImageOptions {
  /** The worker's environment: where logins for registries are. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** For all requests together, milliseconds. */
  readonly timeoutMs?: number;
  /** One of one's own by default. */
  readonly http?: HttpClient;
}

/**
 * The image by its digest, `repository:tag@sha256:…`, with repository and tag as they were given. Where both are there
 * the digest alone decides what is pulled; the tag is for people, who read in a Deployment which version runs. One that
 * has a digest already is answered as it is, and nobody is asked. For an image of several platforms it is the digest of
 * their index.
 *
 * @throws TargetFailure `unknownVersion` where the registry has no such image, `invalidTarget` where it does not let us
 * in or cannot be asked at all, `unreachable` for what may pass.
 */
export async function resolveImage(image: string, options: ResolveImageOptions): Promise<string> {
  const parsed = parseImage(image);
  if (parsed.kind === 'refused') throw new TargetFailure('invalidTarget', `The image ${image} ${parsed.reason}.`);
  if (parsed.digest !== null) return image;
  const timeoutMs = options.timeoutMs ?? REGISTRY_DEFAULTS.timeoutMs;
  const deadline = AbortSignal.timeout(timeoutMs);
  const http = options.http ?? createHttpClient({ timeoutMs, maxBytes: REGISTRY_DEFAULTS.maxBytes });
  const place = placeOf(parsed);
  try {
    const question = new ManifestQuestion(http, place, options.env, AbortSignal.any([options.signal, deadline]));
    return `${image}@${await question.digest()}`;
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    if (deadline.aborted && !options.signal.aborted) {
      throw new TargetFailure('unreachable', `Registry ${place.host} did not answer within ${timeoutMs / 1000} s.`);
    }
    const lasting = error.kind === 'address';
    throw new TargetFailure(lasting ? 'invalidTarget' : 'unreachable', `Registry ${place.host} ${error.message}.`, {
      cause: error,
    });
  } finally {
    if (options.http === undefined) http.close();
  }
}

/** Where a manifest is. */
interface ManifestPlace {
  /** As people know the registry: `docker.io`. */
  readonly host: string;
  /** As the registry's logins and tokens know it: `library/nginx`. */
  readonly path: string;
  readonly tag: string;
  readonly url: string;
}

/** What is meant where nothing is said, by the Docker Hub's own rules; for the request alone, never for what is written. */
function placeOf({ host, path, tag }: ImageReference): ManifestPlace {
  const known = host === null || host === 'index.docker.io' ? 'docker.io' : host;
  const full = known === 'docker.io' && !path.includes('/') ? `library/${path}` : path;
  const asked = known === 'docker.io' ? 'registry-1.docker.io' : known;
  const reference = tag ?? 'latest';
  // As containerd: without TLS on this machine only.
  const scheme = isLoopback(new URL(`https://${asked}`).hostname) ? 'http' : 'https';
  return { host: known, path: full, tag: reference, url: `${scheme}://${asked}/v2/${full}/manifests/${reference}` };
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Indexes first: the digest must stand for all platforms. */
const MANIFEST_TYPES: readonly string[] = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

const DIGEST = /^sha256:[a-f0-9]{64}$/;

const Manifest = z.object({ schemaVersion: z.literal(2), mediaType: z.string().optional() });

const Token = z.object({ token: z.string().min(1).optional(), access_token: z.string().min(1).optional() });

/** Asks one registry for the digest of one manifest; keeps the way in that it has found. */
class ManifestQuestion {
  readonly #http: HttpClient;
  readonly #place: ManifestPlace;
  readonly #env: ResolveImageOptions['env'];
  readonly #signal: AbortSignal;
  #authorization: string | null = null;

  constructor(http: HttpClient, place: ManifestPlace, env: ResolveImageOptions['env'], signal: AbortSignal) {
    this.#http = http;
    this.#place = place;
    this.#env = env;
    this.#signal = signal;
  }

  async digest(): Promise<string> {
    const head = await this.#ask('HEAD');
    const named = head.headers['docker-content-digest'] ?? '';
    // Some registries do not know the method, and some do not say the digest: then it is counted.
    if (head.status !== 405 && head.status !== 501) this.#expectFound(head);
    if (head.status < 300 && DIGEST.test(named)) return named;
    const whole = await this.#ask('GET');
    this.#expectFound(whole);
    return this.#digestOf(whole);
  }

  #digestOf(answer: HttpAnswer): string {
    const { host } = this.#place;
    if (!Manifest.safeParse(answer.json).success) {
      throw new TargetFailure(
        'unreachable',
        `Registry ${host} answered ${answer.contentType === '' ? 'something' : answer.contentType} that is not an image's manifest.`,
      );
    }
    const digest = `sha256:${createHash('sha256').update(answer.bytes).digest('hex')}`;
    const named = answer.headers['docker-content-digest'] ?? digest;
    if (named.startsWith('sha256:') && named !== digest) {
      throw new TargetFailure('unreachable', `Registry ${host} answered a manifest of another digest than it says.`);
    }
    return digest;
  }

  /** One answer with the way in that the registry asks for. */
  async #ask(method: 'HEAD' | 'GET'): Promise<HttpAnswer> {
    const first = await this.#request(method);
    if (first.status !== 401 || this.#authorization !== null) return first;
    this.#authorization = await this.#wayIn(first.headers['www-authenticate'] ?? '');
    return this.#authorization === null ? first : this.#request(method);
  }

  /** Registries may send to where they keep their manifests; the way in is for them alone. */
  async #request(method: 'HEAD' | 'GET'): Promise<HttpAnswer> {
    const { host } = this.#place;
    let url = new URL(this.#place.url);
    let authorization = this.#authorization;
    for (let hop = 0; hop <= REGISTRY_DEFAULTS.maxRedirects; hop += 1) {
      const answer = await this.#http.request({
        method,
        url: url.href,
        headers: {
          Accept: MANIFEST_TYPES.join(', '),
          ...(authorization === null ? {} : { Authorization: authorization }),
        },
        signal: this.#signal,
        redirects: 'answer',
      });
      const location = answer.headers['location'] ?? '';
      if (answer.status < 300 || answer.status > 399 || location === '') return answer;
      const next = URL.canParse(location, url.href) ? new URL(location, url.href) : null;
      if (next === null || !this.#isSafe(next)) {
        throw new TargetFailure(
          'invalidTarget',
          `Registry ${host} redirects to ${displayUrl(next?.href ?? '')}; only https is followed.`,
        );
      }
      if (next.origin !== url.origin) authorization = null;
      url = next;
    }
    throw new TargetFailure(
      'unreachable',
      `Registry ${host} redirects more than ${REGISTRY_DEFAULTS.maxRedirects} times.`,
    );
  }

  /** The header that lets in; null where there is no way. */
  async #wayIn(header: string): Promise<string | null> {
    const { host, path } = this.#place;
    const challenges = parseChallenges(header);
    const login = await registryLogin(this.#env, `${host}/${path}`);
    const bearer = challenges.find((one) => one.scheme === 'bearer' && one.parameters['realm'] !== undefined);
    if (bearer !== undefined) return this.#token(bearer.parameters, login);
    return challenges.some((one) => one.scheme === 'basic') && login !== null ? basic(login) : null;
  }

  async #token(parameters: Readonly<Record<string, string>>, login: RegistryLogin | null): Promise<string | null> {
    const { host, path } = this.#place;
    const { realm = '', service, scope = `repository:${path}:pull` } = parameters;
    const url = URL.canParse(realm) ? new URL(realm) : null;
    if (url === null || !this.#isSafe(url)) {
      throw new TargetFailure(
        'invalidTarget',
        `Registry ${host} gives its tokens at ${displayUrl(realm)}; only https is asked.`,
      );
    }
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', scope);
    const at = `The token service of registry ${host} (${displayUrl(url.href)})`;
    let answer: HttpAnswer;
    try {
      answer = await this.#http.request({
        method: 'GET',
        url: url.href,
        headers: login === null ? {} : { Authorization: basic(login) },
        signal: this.#signal,
      });
    } catch (error) {
      if (!(error instanceof HttpFailure) || this.#signal.aborted) throw error;
      const lasting = error.kind === 'address' || error.kind === 'redirect';
      throw new TargetFailure(lasting ? 'invalidTarget' : 'unreachable', `${at} ${describeHttpFailure(error)}.`, {
        cause: error,
      });
    }
    if (answer.status === 401 || answer.status === 403) return null;
    if (answer.status !== 200) throw new TargetFailure('unreachable', `${at} answered ${answer.status}.`);
    const parsed = Token.safeParse(answer.json);
    const token = parsed.success ? (parsed.data.token ?? parsed.data.access_token) : undefined;
    if (token === undefined) throw new TargetFailure('unreachable', `${at} answered no token.`);
    return `Bearer ${token}`;
  }

  /** Where logins and tokens may be sent, and digests be believed. Only a registry on this machine may name others on it. */
  #isSafe(url: URL): boolean {
    return url.protocol === 'https:' || (isLoopback(url.hostname) && this.#place.url.startsWith('http:'));
  }

  #expectFound({ status }: HttpAnswer): void {
    if (status >= 200 && status < 300) return;
    const { host, path, tag } = this.#place;
    if (status === 404) {
      throw new TargetFailure('unknownVersion', `Registry ${host} has no image ${path}:${tag}.`);
    }
    if (status === 401 || status === 403) {
      throw new TargetFailure(
        'invalidTarget',
        `Registry ${host} does not show ${path}:${tag} (${status}): it is private or not there. ` +
          `Name a docker config.json with a login for it in the worker's ${REGISTRY_CONFIG_ENV}, ` +
          'or write `resolveImage: never` into the spec.',
      );
    }
    const passing = status === 408 || status === 425 || status === 429 || status >= 500 || status < 400;
    throw new TargetFailure(
      passing ? 'unreachable' : 'invalidTarget',
      `Registry ${host} answered ${status} when asked for ${path}:${tag}.`,
    );
  }
}

function basic({ user, password }: RegistryLogin): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
