import { messageOf } from '../../errors';
import { startShop } from './shop';

/**
 * One instance of the demo's shop as a process of its own: `node dist/cli/demo/shop-main.js`. Settings: PORT (0 or
 * nothing takes a free one) and CANARY_ADMIN_TOKEN. Started by the demo it tells it its address, and ends with it.
 */
async function main(): Promise<void> {
  const shop = await startShop({
    port: Number(process.env['PORT'] ?? 0),
    adminToken: process.env['CANARY_ADMIN_TOKEN'] ?? '',
  });
  const end = (): void => void shop.close().then(() => process.exit(0));
  process.on('SIGTERM', end);
  if (process.send === undefined) {
    process.on('SIGINT', end);
    console.log(`The shop answers at ${shop.url}.`);
    return;
  }
  // Ctrl-C reaches the whole group of processes; the demo ends its users first, and then lets go of this one.
  process.on('SIGINT', () => undefined);
  process.on('disconnect', end);
  process.send({ url: shop.url });
}

main().catch((error: unknown) => {
  console.error(`The shop could not start: ${messageOf(error)}`);
  process.exitCode = 1;
});
