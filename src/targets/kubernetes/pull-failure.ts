/**
 * What the kubelet's words about a failed pull mean: `lasting` for what no second try mends, `passing` for a registry
 * that is away or overloaded, and for everything that is not known.
 */
export function judgePull(message: string): 'lasting' | 'passing' {
  // Image names are quoted in between, and one may well be called `denied` or end in `:1.503`.
  const words = message
    .replace(/"[^"]*"/g, ' ')
    .replace(/\S*[/@]\S*/g, ' ')
    .replace(/\s+/g, ' ');
  if (PASSING.test(words)) return 'passing';
  return LASTING.test(words) ? 'lasting' : 'passing';
}

/** Looked for first: a registry in trouble says `not found` and `denied`, too. */
const PASSING = new RegExp(
  [
    'time(d )?-?out',
    'deadline ?exceeded',
    'too ?many ?requests',
    '\\b(429|5\\d\\d) [A-Z]',
    '(status|status code|code):? (429|5\\d\\d)\\b',
    'connection (refused|reset)',
    'no such host',
    'server misbehaving',
    'network is unreachable',
    'no route to host',
    'tls handshake',
    '\\bEOF\\b',
    'temporar(y|ily)',
    'service unavailable',
    'code = (unavailable|resourceexhausted)',
    'no space left',
  ].join('|'),
  'i',
);

const LASTING = new RegExp(
  [
    'not ?found',
    'manifest unknown',
    'name unknown',
    'does not exist',
    'unauthorized',
    'authentication required',
    'authorization failed',
    'no basic auth credentials',
    'denied',
    'forbidden',
    'no match for platform',
    'invalid reference format',
    'could not parse',
  ].join('|'),
  'i',
);
