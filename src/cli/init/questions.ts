import { createInterface } from 'node:readline';
import type { ConfirmIo } from '../confirm';
import { assumedHost, assumedImage, hasHost, nameOf, strategyOf, TRAFFIC_KINDS, trafficKind, USUAL } from './settings';
import type { InitOptions } from './settings';

/**
 * Asks on stderr for what matters and was not given; an empty answer takes what is proposed, and so does the end of the
 * input. null after Ctrl-C.
 */
export async function askFor(io: ConfirmIo, given: InitOptions, folder: string): Promise<InitOptions | null> {
  const prompt = createInterface({ input: io.stdin, output: io.stderr });
  let interrupted = false;
  let closed = false;
  prompt.once('close', () => {
    closed = true;
  });
  prompt.once('SIGINT', () => {
    interrupted = true;
    prompt.close();
  });
  const lines = prompt[Symbol.asyncIterator]();
  const ask = async (known: string | undefined, question: string, proposed: string): Promise<string | undefined> => {
    if (known !== undefined || interrupted) return known;
    const text = `${question} [${proposed}]: `;
    // A pipe that has ended may still hold answers.
    if (closed) io.stderr.write(text);
    else {
      prompt.setPrompt(text);
      prompt.prompt();
    }
    const line = await lines.next();
    const answer = line.done === true ? '' : line.value.trim();
    return answer === '' ? undefined : answer;
  };
  try {
    const name = await ask(given.name, 'Name of the service', nameOf(folder));
    const usual = name ?? nameOf(folder);
    const namespace = await ask(given.namespace, 'Namespace', USUAL.namespace);
    const image = await ask(given.image, 'Image of the first deployment', assumedImage(usual));
    const port = await ask(given.port, 'Port of the container', USUAL.port);
    const usualTraffic = USUAL.traffic[strategyOf(given)];
    const traffic = await ask(given.traffic, `Who splits the traffic (${TRAFFIC_KINDS.join(', ')})`, usualTraffic);
    const host = hasHost(trafficKind(traffic ?? usualTraffic), given)
      ? await ask(given.host, 'Host that users reach it by', assumedHost(usual))
      : given.host;
    if (interrupted) return null;
    const answers = { name, namespace, image, port, traffic, host };
    return { ...given, ...Object.fromEntries(Object.entries(answers).filter(([, answer]) => answer !== undefined)) };
  } finally {
    prompt.close();
  }
}
