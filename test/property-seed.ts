import { configureGlobal } from 'fast-check';

/**
 * Property tests draw the same examples each time, so that a red build is the change's doing and not luck's. To look
 * for what they have not met yet: `SLUICE_SEED=random ./scripts/test`, or a number that an earlier run printed.
 */
const wish = process.env['SLUICE_SEED'] ?? '20261121';
if (wish !== 'random') configureGlobal({ seed: Number(wish) });
