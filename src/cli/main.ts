#!/usr/bin/env node
import { createCli } from './create-cli';
import { runCli } from './program';

/** How long what is left of a command may keep the process. */
const LINGER_MS = 3000;

/** `sluice`: the command line's entry. */
function main(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // The reader has gone, as in `sluice history x | head`: there is nobody left to tell anything.
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }
  void runCli(createCli(), process.argv.slice(2)).then((code) => {
    // Set and not called for: what is still on its way to a pipe must get there.
    process.exitCode = code;
    // A command that was interrupted may leave something behind that takes its time, a download for one.
    setTimeout(() => process.exit(code), LINGER_MS).unref();
  });
}

main();
