import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { messageOf } from '../../src/errors';
import { PodList, scrapeTargets } from './scrape-targets';

/**
 * A program of the lab: tells Prometheus which pods to scrape, by a file. Prometheus can ask Kubernetes itself, but
 * Debian's is built without that.
 *
 * usage: pod-discovery KUBECONFIG FILE
 */
const LOOK_AGAIN_MS = 500;

const Kubeconfig = z.object({
  clusters: z.tuple([
    z.object({ cluster: z.object({ server: z.string(), 'certificate-authority-data': z.string() }) }),
  ]),
  users: z.array(z.object({ name: z.string(), user: z.object({ token: z.string() }) })).min(1),
});

async function main([kubeconfig = '', file = '']: readonly string[]): Promise<never> {
  const { clusters, users } = Kubeconfig.parse(JSON.parse(readFileSync(kubeconfig, 'utf8')));
  const { server, 'certificate-authority-data': authority } = clusters[0].cluster;
  const agent = new Agent({ keepAlive: true, ca: Buffer.from(authority, 'base64') });
  // From the API server's cache: this is asked all the time.
  const url = `${server}/api/v1/pods?resourceVersion=0`;
  let written = '';
  let told = '';
  for (;;) {
    try {
      const pods = PodList.parse(JSON.parse(await fetchText(url, agent, users[0]?.user.token ?? '')));
      const targets = JSON.stringify(scrapeTargets(pods));
      if (targets !== written) writeWhole(file, targets);
      written = targets;
      told = '';
    } catch (error) {
      // While the API server is away, the pods that are known stay known; each cause is told once.
      if (messageOf(error) !== told) console.error(messageOf(error));
      told = messageOf(error);
    }
    await delay(LOOK_AGAIN_MS);
  }
}

function fetchText(url: string, agent: Agent, token: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent, headers: { authorization: `Bearer ${token}` }, timeout: 5_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${response.statusCode}: ${text}`));
      });
    });
    request.once('timeout', () => request.destroy(new Error('no answer within 5 s')));
    request.once('error', reject);
  });
}

/** Prometheus reads the file as soon as it changes: it must be whole then. */
function writeWhole(file: string, content: string): void {
  writeFileSync(`${file}.new`, content);
  renameSync(`${file}.new`, file);
}

void main(process.argv.slice(2));
