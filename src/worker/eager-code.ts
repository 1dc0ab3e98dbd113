import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 compile what this process, and the threads it starts, load from now on as a whole, and keep it. By itself V8
 * compiles a function when it is first called, and throws the code away again where it was not called for a while: what
 * takes a release back would be compiled just when it is needed, in the workflow and in the activity. For the process of
 * a worker alone, before its worker is loaded: these are V8's settings for everything in it.
 */
export function compileEverything(): void {
  setFlagsFromString('--no-lazy');
  setFlagsFromString('--no-flush-bytecode');
}
