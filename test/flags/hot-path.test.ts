import { once } from 'node:events';
import { connect } from 'node:net';
import { serveFlags, stopServers } from './serve';
import { send, until } from './support';

const FLAGS = [
  { name: 'f', enabled: true, rollout_percentage: 0, whitelist: ['in'] },
  { name: 'a.b', enabled: true },
];
const KEY = 'a-key-of-this-test-alone';
const QUESTIONS = [
  ['a check', '/api/feature-flags/f/check', '{"user_id":"in"}'],
  ['an evaluation', '/ofrep/v1/evaluate/flags/f', '{"context":{"targetingKey":"in"}}'],
] as const;

afterEach(stopServers);

/** What is said on a connection of its own, as it stands on the wire. */
async function talk(url: string) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let heard = '';
  socket.on('data', (data) => (heard += data.toString()));
  await once(socket, 'connect');
  return { socket, heard: () => heard, answers: () => heard.split('HTTP/1.1 ').length - 1 };
}

function post(path: string, body: string, headers = ''): string {
  const type = 'Content-Type: application/json\r\n';
  return `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${type}${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

describe.each(QUESTIONS)('%s', (_what, path, body) => {
  it('is answered on a connection that stays, in the order of the questions, also in pieces', async () => {
    const { url } = await serveFlags(FLAGS);
    const { socket, heard, answers } = await talk(url);
    const out = body.replace('in', 'öut');

    socket.write(post(path, body) + post(path, out));
    await until(() => answers() === 2);
    const last = post(path, body);
    socket.write(last.slice(0, -5));
    socket.write(last.slice(-5));
    await until(() => answers() === 3 && heard().endsWith('}'));

    const values = [...heard().matchAll(/"value":(true|false)/g)].map(([, value]) => value);
    expect(values).toEqual(['true', 'false', 'true']);
    expect(heard().match(/\r\nContent-Length: /gi)).toHaveLength(3);
    socket.destroy();
  });

  it('of which more comes than may is refused before it has all come, and the connection ends', async () => {
    const { url } = await serveFlags(FLAGS);
    const { socket, heard } = await talk(url);
    const ended = once(socket, 'close');
    // What is sent after the refusal may be answered by a reset.
    socket.on('error', () => undefined);
    const head = 'Host: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n';

    socket.write(`POST ${path} HTTP/1.1\r\n${head}`);
    for (let sent = 0; sent < 70_000; sent += 1_000) socket.write(`3e8\r\n${' '.repeat(1_000)}\r\n`);
    await ended;

    expect(heard()).toMatch(path.startsWith('/ofrep') ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 413 /);
    expect(heard()).toMatch(/\r\nConnection: close\r\n/i);
    expect(heard()).toContain('The body is larger than this endpoint takes.');
  });

  it('whose sender goes away in the middle is dropped, and others are answered', async () => {
    const { url } = await serveFlags(FLAGS);
    const { socket } = await talk(url);
    socket.write(post(path, body).slice(0, -5));
    socket.destroy();

    expect((await send(`${url}${path}`, 'POST', { body })).status).toBe(200);
  });

  it('needs a key before its body is read, its own type, and a name of this machine where there is no key', async () => {
    const guarded = await serveFlags([], { access: { adminKey: KEY } });
    const open = await serveFlags(FLAGS);
    const { socket, heard } = await talk(guarded.url);
    socket.write(post(path, body, 'X-API-Key: wrong\r\n').slice(0, -5));
    await until(() => heard().endsWith('}'));
    expect(heard()).toMatch(/^HTTP\/1\.1 401 /);
    socket.destroy();

    const typed = await send(`${open.url}${path}`, 'POST', { body, headers: { 'content-type': 'text/plain' } });
    expect(typed.status).toBe(path.startsWith('/ofrep') ? 400 : 415);
    const upper = await send(`${open.url}${path}`, 'POST', { body, headers: { 'content-type': 'Application/JSON;x' } });
    expect(upper.status).toBe(200);

    const stranger = await talk(open.url);
    stranger.socket.write(post(path, body).replace('127.0.0.1', 'evil.example'));
    await until(() => stranger.heard().endsWith('}'));
    expect(stranger.heard()).toMatch(/^HTTP\/1\.1 403 /);
    stranger.socket.destroy();
  });

  it('names its flag also in other spellings, and has no other method', async () => {
    const { url } = await serveFlags(FLAGS);

    const named = (name: string) => path.replace(/\/f(?=$|\/check)/, `/${name}`);

    const spelled = await send(`${url}${named('a%2eb')}?x=1`, 'POST', { body });
    expect(spelled).toMatchObject({ status: 200, body: { value: true } });
    expect((await send(`${url}${named('%E0%A4%A')}`, 'POST', { body })).status).toBe(400);
    expect((await send(`${url}${path}`, 'PUT', { body })).status).toBe(405);
    expect((await send(`${url}${path}/more`, 'POST', { body })).status).toBe(404);
  });
});

it('a stop lets connections end, with what was asked of them answered', async () => {
  const server = await serveFlags(FLAGS);
  const { socket, heard } = await talk(server.url);
  const [, path, body] = QUESTIONS[0];
  const ended = once(socket, 'close');
  socket.write(post(path, body).slice(0, -5));
  // The first half has arrived when a question sent after it is answered.
  await send(`${server.url}${path}`, 'POST', { body });

  const closed = server.close();
  socket.write(post(path, body).slice(-5));
  await closed;
  await ended;

  expect(heard()).toMatch(/^HTTP\/1\.1 200 /);
  expect(heard()).toMatch(/\r\nConnection: close\r\n/i);
});
