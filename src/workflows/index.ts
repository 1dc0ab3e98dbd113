/** What the worker registers: each export is a workflow type on the wire. */
export { release } from './release';
export { releaseQueue } from './release-queue';
