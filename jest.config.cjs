/** Jest runs the TypeScript sources through swc, without a type check: `npm run typecheck` is its own step. */
const swc = [
  '@swc/jest',
  { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' }, module: { type: 'commonjs' } },
];

module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  setupFiles: ['<rootDir>/test/property-seed.ts'],
  testMatch: ['**/*.test.ts'],
  transform: { '^.+\\.[cm]?[tj]s$': swc },
  // Only packages that ship nothing but ES modules are transformed; everything else is loaded as it is.
  transformIgnorePatterns: [
    '/node_modules/(?!(@hono/node-server|@kubernetes/client-node|openid-client|oauth4webapi|jose|jsonpath-plus|socks-proxy-agent|agent-base)/)',
  ],
  testTimeout: 120_000,
  maxWorkers: 2,
};
