// A shop with made-up users: each gets the new checkout if the flag new-checkout is on for them, and how it went is posted
// to the flag service. With --broken the new checkout fails every third time. Ctrl-C stops it.
import { setTimeout as delay } from 'node:timers/promises';
import { createFlagClient } from 'sluice/flags';

const FLAG = 'new-checkout';
const USERS = 1000;
const PER_SECOND = 50;

const broken = process.argv.includes('--broken');
const checkouts = {
  old: () => delay(10 + Math.random() * 20),
  new: async () => {
    await delay(10 + Math.random() * 20);
    if (broken && Math.random() < 1 / 3) throw new Error('the basket is empty');
  },
};

const flags = await createFlagClient({
  service: { url: process.env.SLUICE_FLAGS_URL ?? 'http://127.0.0.1:8014', apiKey: process.env.SLUICE_FLAGS_TOKEN },
  environment: 'production',
  // It may be started together with the service.
  patienceMs: 60_000,
});
console.log(`The shop is open: ${PER_SECOND} checkouts a second${broken ? ', and the new one is broken' : ''}.`);

async function visit() {
  const userId = `user-${Math.floor(Math.random() * USERS)}`;
  const enabled = flags.isEnabled(FLAG, userId);
  const begunAt = performance.now();
  const ok = await checkouts[enabled ? 'new' : 'old']().then(
    () => true,
    () => false, // what the user is told is not of interest here
  );
  // `enabled` is what this user really got, whatever the flag says by now.
  flags.reportOutcome(FLAG, { userId, ok, latencyMs: performance.now() - begunAt, enabled });
}

const clock = setInterval(() => void visit(), 1000 / PER_SECOND);
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    clearInterval(clock);
    void flags.close();
  });
}
