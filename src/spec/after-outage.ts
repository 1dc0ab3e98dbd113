/**
 * After an outage of an API server gateways are back at it this long after it, at the latest, milliseconds: twice the
 * longest wait of client-go, a list and a configuration. Targets wait for that, and the release's limits leave room for it.
 */
export const LONGEST_AFTER_OUTAGE_MS = 130_000;
