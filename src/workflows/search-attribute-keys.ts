import { defineSearchAttributeKey } from '@temporalio/common';
import { RELEASE_ATTRIBUTES } from './api';

const { service, namespace, release, version, phase, outcome, weight } = RELEASE_ATTRIBUTES;

/** A release's search attributes as Temporal's SDK asks for them: where they are set, and where lists read them. */
export const SEARCH_KEYS = {
  service: defineSearchAttributeKey(service.name, service.type),
  namespace: defineSearchAttributeKey(namespace.name, namespace.type),
  release: defineSearchAttributeKey(release.name, release.type),
  version: defineSearchAttributeKey(version.name, version.type),
  phase: defineSearchAttributeKey(phase.name, phase.type),
  outcome: defineSearchAttributeKey(outcome.name, outcome.type),
  weight: defineSearchAttributeKey(weight.name, weight.type),
};
