import type { Plan, SimulatedPhase } from '../spec/plan-types';
import type { PlanDescription } from '../spec/describe-plan';
import { lazy } from './lazy';

/** What commands ask of release.yaml files. */
export interface SpecTools {
  /** What a release.yaml is about. Throws `invalid-spec`, with every problem. */
  identify(path: string): Promise<SpecIdentity>;
  /** Which service a file is about, also where the rest of it is wrong; null where it does not say so. */
  name(path: string): Promise<Pick<SpecIdentity, 'service' | 'namespace'> | null>;
  /** The plan for a version; `simulate` replaces its metric source by a script. Throws `invalid-spec`. */
  plan(path: string, version: string, simulate?: readonly SimulatedPhase[]): Promise<Plan>;
  /** All problems of a file. Throws only when it cannot be read. */
  validate(path: string): Promise<Validation>;
  /** The plan as people read it. */
  describe(plan: Plan): PlanDescription;
  /** JSON Schema of release.yaml. */
  schema(): object;
}

/** Stands in for the version where only what does not depend on it is asked of a plan. */
export const ANY_IMAGE = 'any:0';

export interface SpecIdentity {
  readonly service: string;
  readonly namespace: string;
  readonly target: Plan['target']['kind'];
}

/** What is wrong with a file, and what is allowed but most likely not meant. */
export interface Validation {
  readonly problems: readonly SpecFinding[];
  readonly warnings: readonly SpecFinding[];
}

export interface SpecFinding {
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
  /** `file:line:column: message`, for people. */
  readonly text: string;
}

export function createSpecTools(): SpecTools {
  return {
    async identify(path) {
      const { metadata, spec } = await lazy.load().loadSpec(path);
      const target =
        spec.target.router !== undefined ? 'router' : spec.target.flag !== undefined ? 'flag' : 'kubernetes';
      return { service: metadata.name, namespace: metadata.namespace, target };
    },
    async name(path) {
      const metadata = await lazy.load().loadName(path);
      return metadata === null ? null : { service: metadata.name, namespace: metadata.namespace };
    },
    async plan(path, version, simulate) {
      const spec = await lazy.load().loadSpec(path);
      return lazy.plan().plan(spec, version, simulate === undefined ? {} : { simulate });
    },
    async validate(path) {
      const { loadSpecFile, formatProblem } = lazy.load();
      const result = await loadSpecFile(path);
      const view = (problem: Parameters<typeof formatProblem>[0]): SpecFinding => ({
        line: problem.line,
        column: problem.column,
        path: problem.path,
        message: problem.message,
        text: formatProblem(problem),
      });
      return result.ok
        ? { problems: [], warnings: result.warnings.map(view) }
        : { problems: result.problems.map(view), warnings: [] };
    },
    describe: (plan) => lazy.describePlan().describePlan(plan),
    schema: () => lazy.jsonSchema().releaseJsonSchema(),
  };
}
