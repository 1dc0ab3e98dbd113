/** Which port of 127.0.0.1 stands for a service's, by `service:port`. */
export type LoopbackPorts = ReadonlyMap<string, number>;

const ADDRESS = /(?<![\w.-])([\w.-]+):(\d{2,5})(?!\d)/g;
const OWN_HOSTS = new Set(['0.0.0.0', '127.0.0.1', 'localhost']);

/**
 * Text of a compose file's world, `http://shop-1:3000`, in that of plain processes, `http://127.0.0.1:41234`. Where a
 * service is named, its own addresses (`0.0.0.0:3000`) are meant as well. What is no service's address stays.
 */
export function toLoopback(text: string, ports: LoopbackPorts, service?: string): string {
  return text.replace(ADDRESS, (address, host: string, port: string) => {
    const own = service !== undefined && OWN_HOSTS.has(host);
    const mapped = ports.get(own ? `${service}:${port}` : address);
    return mapped === undefined ? address : `127.0.0.1:${mapped}`;
  });
}

/** The same for one argument, which may also be nothing but one of the service's own ports or hosts. */
export function argumentToLoopback(argument: string, ports: LoopbackPorts, service: string): string {
  if (argument === '0.0.0.0') return '127.0.0.1';
  const own = /^\d+$/.test(argument) ? ports.get(`${service}:${argument}`) : undefined;
  return own === undefined ? toLoopback(argument, ports, service) : String(own);
}
