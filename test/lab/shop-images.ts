import type { Image } from './registry';

/**
 * The versions of the sample shop: one binary, told by its image's environment what it is. Their configurations differ,
 * and so do their digests.
 */
export const SHOP_VERSIONS = {
  v1: {},
  v2: {},
  /** Fails three of ten requests. */
  v3: { SHOP_ERROR_SHARE: '0.3' },
  /** Answers after 800 ms. */
  slow: { SHOP_LATENCY_MS: '800' },
  /** Ends with 1 as soon as it is started. */
  crash: { SHOP_CRASH: 'true' },
  /** Lives and serves, but its readiness probe fails. */
  unready: { SHOP_READY: 'false' },
  /** Takes more memory than the manifest allows and is killed. */
  oom: { SHOP_HOARD_MIB: '256' },
} as const satisfies Record<string, Readonly<Record<string, string>>>;
export type ShopVersion = keyof typeof SHOP_VERSIONS;

/** All images of the lab. */
export const IMAGES: readonly Image[] = [
  { name: 'pause:1', command: ['/shop', 'pause'], environment: {} },
  ...Object.entries(SHOP_VERSIONS).map(([version, environment]) => ({
    name: `shop:${version}`,
    command: ['/shop'],
    environment: { SHOP_VERSION: version, ...environment },
  })),
];
