// Users of the shop, made up: 60 requests a second in turn to the addresses given, for ten minutes.
const PER_SECOND = 60;
const FOR_MS = 10 * 60_000;
const USERS = 2000;

const urls = process.argv.slice(2);
if (urls.length === 0) throw new Error('usage: node users.mjs URL...');

const counts = { sent: 0, stable: 0, canary: 0, errors: 0, unanswered: 0 };

async function buy() {
  const url = urls[counts.sent % urls.length];
  counts.sent += 1;
  try {
    const response = await fetch(`${url}/checkout`, {
      headers: { 'x-user-id': `user-${Math.floor(Math.random() * USERS)}` },
      signal: AbortSignal.timeout(5000),
    });
    await response.arrayBuffer();
    counts[response.headers.get('x-deployment-cohort') === 'canary' ? 'canary' : 'stable'] += 1;
    if (response.status >= 500) counts.errors += 1;
  } catch {
    // The shop is gone or slow: that is counted, and the next user tries.
    counts.unanswered += 1;
  }
}

const clock = setInterval(() => void buy(), 1000 / PER_SECOND);
const report = setInterval(() => console.log(JSON.stringify(counts)), 10_000);
const end = () => {
  clearInterval(clock);
  clearInterval(report);
  console.log(JSON.stringify(counts));
};
setTimeout(end, FOR_MS).unref();
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, end);
