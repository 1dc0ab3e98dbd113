import { BlockList, isIP, SocketAddress } from 'node:net';

/**
 * Whose word about the client's address counts: `false` nobody's (the peer is the client), a number of proxies in
 * front of the app, or the networks those proxies are in (CIDR, single addresses, `loopback`, `private`).
 */
export type TrustProxy = false | number | readonly string[];

/** The headers an address is taken from, as far as the peer is trusted. */
export interface AddressInput {
  /** The address of the socket's other end. */
  readonly remoteAddress: string | undefined;
  /** The value of `X-Forwarded-For`, several joined by commas. */
  readonly forwardedFor: string | undefined;
}

/** The client's address in canonical form, or null when it cannot be had from anyone trusted. */
export type ClientAddress = (input: AddressInput) => string | null;

const NAMED_NETWORKS: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
};

/** `X-Forwarded-For` entries looked at; a longer list is cut on the far (untrusted) side. */
const MAX_HOPS = 32;

/** Reads one trusted network; null when it is none. */
export function parseNetwork(text: string): { address: string; prefix: number; family: 'ipv4' | 'ipv6' } | null {
  const [address = '', prefixText, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return null;
  const widest = version === 4 ? 32 : 128;
  if (prefixText !== undefined && !/^\d{1,3}$/.test(prefixText)) return null;
  const prefix = prefixText === undefined ? widest : Number(prefixText);
  if (prefix > widest) return null;
  return { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

/** The names usable in place of a network. */
export const namedNetworks: readonly string[] = Object.keys(NAMED_NETWORKS);

/**
 * Builds the function that finds a request's client address.
 *
 * Walks from the socket to the left through `X-Forwarded-For` as long as the hop is trusted, and answers with the
 * first hop that is not. Without trust the header is never read; and if one is there nevertheless, the peer may be a
 * proxy nobody told us about and would put all its clients into one bucket: so there is no address then.
 * Networks are expected to be valid (config.ts checks them); an invalid one throws a RangeError.
 */
export function clientAddress(trust: TrustProxy): ClientAddress {
  if (trust === false) {
    return ({ remoteAddress, forwardedFor }) => (forwardedFor === undefined ? canonicalAddress(remoteAddress) : null);
  }
  const trusts = typeof trust === 'number' ? (_address: string, hop: number) => hop < trust : inNetworks(trust);
  return ({ remoteAddress, forwardedFor }) => {
    let current = canonicalAddress(remoteAddress);
    const hops = forwardedFor === undefined ? [] : forwardedFor.split(',').slice(-MAX_HOPS);
    for (let hop = 0; current !== null && hops.length > 0 && trusts(current, hop); hop++) {
      current = canonicalAddress(hops.pop());
    }
    return current;
  };
}

function inNetworks(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const text of networks.flatMap((name) => NAMED_NETWORKS[name] ?? [name])) {
    const network = parseNetwork(text);
    if (network === null) throw new RangeError(`"${text}" is not a network`);
    list.addSubnet(network.address, network.prefix, network.family);
  }
  return (address) => list.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
}

/** One spelling for one address: no port, no brackets, no zone, IPv4 inside IPv6 as IPv4; null when it is no address. */
function canonicalAddress(text: string | undefined): string | null {
  if (text === undefined) return null;
  let address = text.trim();
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(address);
  if (bracketed?.[1] !== undefined) address = bracketed[1];
  else if (/^[\d.]+:\d+$/.test(address)) address = address.slice(0, address.lastIndexOf(':'));
  const version = isIP(address);
  if (version === 0) return null;
  if (version === 4) return address;
  const canonical = new SocketAddress({ address: address.split('%', 1)[0] ?? address, family: 'ipv6' }).address;
  return canonical.startsWith('::ffff:') && canonical.includes('.') ? canonical.slice('::ffff:'.length) : canonical;
}
