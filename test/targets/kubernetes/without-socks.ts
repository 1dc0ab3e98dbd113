/**
 * Imported before anything that loads @kubernetes/client-node: that package asks for this one, which ships nothing but ES
 * modules, and Jest does not transform it. No test goes through a SOCKS proxy.
 */
jest.mock('socks-proxy-agent', () => ({
  SocksProxyAgent: class {
    constructor() {
      throw new Error('There is no SOCKS proxy in tests.');
    }
  },
}));

export {};
