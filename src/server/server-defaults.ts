/** Every limit and interval of the server beside the flag service's own. */
export const ServerDefaults = {
  /** Releases of one list. */
  listSize: 50,
  maxListSize: 500,
  /** Characters of a reason: a sentence for the story, and no log. */
  maxReasonLength: 1_000,
  /** Characters of an image reference, or of a version. */
  maxVersionLength: 512,
  /** Bytes of a message to a release. */
  maxMessageBytes: 16 * 1024,
  /** Bytes of a spec. A tenth of what a file may have: while one is read, no flag is answered. */
  maxSpecBytes: 100 * 1024,
  /** Bytes of a start: such a spec as a JSON text, whose quotes and line ends are escaped. */
  maxStartBytes: 256 * 1024,
  /** Between two looks at whether Temporal is there. */
  temporalCheckMs: 5_000,
  /** Open event streams of releases. */
  maxStreams: 1_000,
  /** Unread bytes after which an event stream is given up; a release's whole story is well below. */
  maxStreamBacklogBytes: 4 * 1024 * 1024,
} as const;
