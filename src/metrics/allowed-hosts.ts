import { ReleaseError } from '../errors';

/** The hosts that an operator lets a worker ask: whether an address is at one of them. */
export type AllowedHosts = (url: string) => boolean;

/**
 * Reads `host[:port]` with commas between them. Without a port, the usual one of http and https is meant.
 *
 * @throws ReleaseError `usage` for an entry that is none, with the variable's name.
 */
export function readAllowedHosts(text: string | undefined, variable: string): AllowedHosts {
  const entries = (text ?? '')
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '');
  const allowed = new Set(entries.map((entry) => hostOf(entry, variable)));
  return (url) => {
    if (!URL.canParse(url)) return false;
    const { hostname, port, protocol } = new URL(url);
    if (port === '' && allowed.has(hostname)) return true;
    return allowed.has(`${hostname}:${port === '' ? USUAL_PORTS[protocol] : port}`);
  };
}

const USUAL_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** As URL writes it, with the port where there is one. */
function hostOf(entry: string, variable: string): string {
  const url = `http://${entry}`;
  const port = /:(\d{1,5})$/u.exec(entry)?.[1];
  if (/[/?#@\\\s*]/u.test(entry) || !URL.canParse(url)) {
    throw new ReleaseError(
      'usage',
      `The environment variable ${variable} has ${JSON.stringify(entry)}, which is no host.`,
      {
        hint: `Set ${variable} where the worker runs to hosts with commas between them: metrics.example, 10.0.0.7:9000.`,
      },
    );
  }
  const { hostname } = new URL(url);
  return port === undefined ? hostname : `${hostname}:${Number(port)}`;
}
