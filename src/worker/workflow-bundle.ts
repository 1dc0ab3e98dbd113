import { bundleWorkflowCode } from '@temporalio/worker';
import type { BundleOptions, WorkflowBundleWithSourceMap } from '@temporalio/worker';

/**
 * Modules that every release would otherwise load for itself, with its own copy of all their classes: here the worker's
 * releases share one, made before the first of them. Only what keeps no state of a workflow may be among them.
 */
export const PRELOADED_MODULES: readonly string[] = ['@temporalio/common', 'nexus-rpc'];

/**
 * The bundle without stack traces. The SDK takes one for each promise that a workflow makes and looks each of its lines up
 * in the source map, for a query that only debugging asks (`__stack_trace`): docs/bench.md says what that costs 200 releases.
 * What a release waits for is in its current details. A defect that ends a workflow task then has its message alone; the recorded history replayed by a worker that keeps stack traces, which
 * `SLUICE_WORKFLOW_STACKS` makes, has the rest.
 *
 * It has to be the bundle's own first words: once the first workflow has begun, `Error` is frozen.
 */
function withoutStacks(code: string): string {
  return `Error.stackTraceLimit = 0; ${code}`;
}

/** The workflows as a worker gets them at build time, and as tests run them. */
export async function bundleWorkflows(
  options: Pick<BundleOptions, 'workflowsPath' | 'workflowInterceptorModules' | 'logger'>,
): Promise<WorkflowBundleWithSourceMap> {
  const { code, sourceMap } = await bundleWorkflowCode({ ...options, preloadModules: [...PRELOADED_MODULES] });
  return { code: withoutStacks(code), sourceMap };
}
