import tseslint from 'typescript-eslint';
import { importX } from 'eslint-plugin-import-x';

/**
 * Which room may import which (docs/architecture.md draws it). A room not named in `allowed` is forbidden;
 * everything may use `spec` and `analysis`, and every room itself.
 */
const rooms = {
  spec: [],
  analysis: [],
  workflows: ['spec'],
  metrics: ['analysis', 'router', 'flags'],
  backtest: ['metrics'],
  traffic: [],
  targets: ['traffic', 'metrics', 'router', 'flags'],
  notify: ['workflows'],
  report: ['workflows', 'backtest'],
  activities: ['workflows', 'targets', 'metrics', 'notify', 'traffic', 'analysis'],
  worker: ['activities', 'targets', 'metrics', 'notify', 'workflows', 'client', 'devserver'],
  client: ['workflows'],
  devserver: [],
  cli: [
    ...['client', 'workflows', 'worker', 'devserver', 'metrics', 'router', 'targets', 'report', 'backtest', 'flags'],
    'server',
  ],
  server: ['client', 'workflows', 'flags'],
  router: [],
  flags: [],
  rehearsal: ['workflows'],
};
/** Folders inside of a room that are called like another room. */
const ownFolders = { flags: ['client', 'server'] };
const always = ['spec', 'analysis', 'errors'];

/** Outside of its room and the worker's bundle, a release is known by its types, names and start options alone. */
const workflowFace = [
  '**/workflows/*',
  '!**/workflows/api',
  '!**/workflows/activity-types',
  '!**/workflows/search-attribute-keys',
  '!**/workflows/start-options',
];

/** Rooms that import no package, not even one of Node's. */
const PURE = ['analysis'];

const roomRules = Object.entries(rooms).map(([room, allowed]) => {
  const usable = new Set([room, ...allowed, ...(room === 'router' || room === 'analysis' ? [] : always)]);
  const forbidden = [...Object.keys(rooms), 'errors'].filter((other) => !usable.has(other));
  return {
    files: [`src/${room}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              // A room may have a folder of its own that is called like another room.
              group: [
                ...forbidden.flatMap((other) => [`**/${other}/**`, `**/../${other}/*`]),
                ...(ownFolders[room] ?? []).map((folder) => `!./${folder}/*`),
                ...[...usable].flatMap((one) => (ownFolders[one] ?? []).map((folder) => `!**/${one}/${folder}/*`)),
              ],
              message: `src/${room} may only import from: ${[...usable].join(', ')} (docs/architecture.md).`,
            },
            {
              // A room's own entry (`../router`), which the patterns above leave out.
              regex: `^(\\.\\./)+(${forbidden.join('|')})$`,
              message: `src/${room} may only import from: ${[...usable].join(', ')} (docs/architecture.md).`,
            },
            ...(allowed.includes('workflows')
              ? [
                  { group: workflowFace, message: 'Only the public face of the workflows may be imported here.' },
                  { regex: '/workflows$', message: 'Only the public face of the workflows may be imported here.' },
                ]
              : []),
            ...(room === 'workflows'
              ? [
                  {
                    regex: '^(?!\\.{1,2}/|@temporalio/(workflow|common)(/|$))',
                    message:
                      'Workflow code is deterministic: beside itself it knows the workflow API of Temporal alone.',
                  },
                ]
              : []),
            ...(PURE.includes(room)
              ? [{ regex: '^(?!\\.{1,2}/)', message: `src/${room} computes, and imports nothing but itself.` }]
              : []),
          ],
        },
      ],
    },
  };
});

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'coverage', '.sluice', 'bench/results', 'test/workflow/histories'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommended],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'import-x/no-default-export': 'error',
      'import-x/no-cycle': 'error',
      eqeqeq: 'error',
    },
  },
  ...roomRules,
  { files: ['test/**/*.ts'], rules: { '@typescript-eslint/explicit-module-boundary-types': 'off' } },
);
