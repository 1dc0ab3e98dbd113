/** Does what waits for a word that never comes, with a clock on which half a minute passes between any two looks at it. */
export async function hurried<Answer>(run: () => Promise<Answer>): Promise<Answer> {
  const now = performance.now.bind(performance);
  const clock = jest.spyOn(performance, 'now');
  let ahead = 0;
  clock.mockImplementation(() => now() + (ahead += 30_000));
  try {
    return await run();
  } finally {
    clock.mockRestore();
  }
}
