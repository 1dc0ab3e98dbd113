import { z } from 'zod';
import { parseJson } from '../../traffic/fence';

export type PodTemplate = Readonly<Record<string, unknown>>;

/** A ConfigMap or Secret that a pod's template names. */
export interface ConfigRef {
  readonly kind: 'ConfigMap' | 'Secret';
  readonly name: string;
  /** The pods start without it, too. */
  readonly optional: boolean;
}

/** Names of copies by what they are copies of: `ConfigMap/checkout`. */
export type Copies = Readonly<Record<string, string>>;

/** On a template that names copies: what each is a copy of, so that the next release finds the originals. */
export const CONFIG_ANNOTATION = 'sluice.dev/config';

type Json = Readonly<Record<string, unknown>>;
type Rename = (ref: ConfigRef) => string;

export function configKey({ kind, name }: Pick<ConfigRef, 'kind' | 'name'>): string {
  return `${kind}/${name}`;
}

/** Every ConfigMap and Secret that the containers of these templates get, once; optional where all say so. */
export function configNamedBy(templates: readonly PodTemplate[]): readonly ConfigRef[] {
  const found = new Map<string, ConfigRef>();
  for (const template of templates) {
    renameConfig(template, (ref) => {
      const known = found.get(configKey(ref));
      found.set(configKey(ref), { ...ref, optional: ref.optional && known?.optional !== false });
      return ref.name;
    });
  }
  return [...found.values()];
}

/** The template as the user wrote it: it names the originals, and nothing says that it ever named copies. */
export function withOriginals(template: PodTemplate): PodTemplate {
  const origins = originsOn(template);
  if (origins === null) return template;
  const renamed = renameConfig(template, (ref) => origins[configKey(ref)] ?? ref.name);
  return annotated(renamed, null);
}

/** The template with copies in place of their originals, in place of any copies it named before. */
export function withCopies(template: PodTemplate, copies: Copies): PodTemplate {
  const origins: Record<string, string> = {};
  const renamed = renameConfig(withOriginals(template), (ref) => {
    const copy = copies[configKey(ref)];
    if (copy === undefined) return ref.name;
    origins[configKey({ ...ref, name: copy })] = ref.name;
    return copy;
  });
  return Object.keys(origins).length === 0 ? renamed : annotated(renamed, JSON.stringify(origins));
}

/** The copies that a template names. */
export function copiesIn(template: PodTemplate): Copies {
  const origins = originsOn(template) ?? {};
  const named = configNamedBy([template]).flatMap((ref) => {
    const origin = origins[configKey(ref)];
    return origin === undefined ? [] : [[configKey({ ...ref, name: origin }), ref.name] as const];
  });
  return Object.fromEntries(named);
}

/**
 * What volumes and environment variables of a container are read from. Not pull secrets, nor the credentials of storage:
 * these are the node's, and no part of what a version is.
 */
function renameConfig(template: PodTemplate, rename: Rename): PodTemplate {
  return within(template, 'spec', (spec) => {
    const containers = ['initContainers', 'containers'].reduce(
      (pod, key) => each(pod, key, (one) => renameInContainer(one, rename)),
      spec,
    );
    return each(containers, 'volumes', (volume) => {
      const own = within(inConfigMap(volume, 'configMap', rename), 'secret', (source) =>
        renamed(source, { kind: 'Secret', key: 'secretName' }, rename),
      );
      return within(own, 'projected', (projected) =>
        each(projected, 'sources', (source) => inSecret(inConfigMap(source, 'configMap', rename), 'secret', rename)),
      );
    });
  });
}

function renameInContainer(container: Json, rename: Rename): Json {
  const whole = each(container, 'envFrom', (source) =>
    inSecret(inConfigMap(source, 'configMapRef', rename), 'secretRef', rename),
  );
  return each(whole, 'env', (variable) =>
    within(variable, 'valueFrom', (source) =>
      inSecret(inConfigMap(source, 'configMapKeyRef', rename), 'secretKeyRef', rename),
    ),
  );
}

function inConfigMap(holder: Json, key: string, rename: Rename): Json {
  return within(holder, key, (ref) => renamed(ref, { kind: 'ConfigMap', key: 'name' }, rename));
}

function inSecret(holder: Json, key: string, rename: Rename): Json {
  return within(holder, key, (ref) => renamed(ref, { kind: 'Secret', key: 'name' }, rename));
}

function renamed(ref: Json, { kind, key }: { kind: ConfigRef['kind']; key: string }, rename: Rename): Json {
  const name = ref[key];
  if (typeof name !== 'string' || name === '') return ref;
  return { ...ref, [key]: rename({ kind, name, optional: ref['optional'] === true }) };
}

function within(holder: Json, key: string, change: (value: Json) => Json): Json {
  const value = holder[key];
  return isJson(value) ? { ...holder, [key]: change(value) } : holder;
}

function each(holder: Json, key: string, change: (value: Json) => Json): Json {
  const values = holder[key];
  if (!Array.isArray(values)) return holder;
  return { ...holder, [key]: (values as readonly unknown[]).map((value) => (isJson(value) ? change(value) : value)) };
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function originsOn(template: PodTemplate): Readonly<Record<string, string>> | null {
  const { annotations = {} } = (template['metadata'] ?? {}) as { annotations?: Readonly<Record<string, string>> };
  return parseJson(z.record(z.string(), z.string()), annotations[CONFIG_ANNOTATION]);
}

function annotated(template: PodTemplate, value: string | null): PodTemplate {
  const metadata = (template['metadata'] ?? {}) as Json & { annotations?: Readonly<Record<string, string>> };
  const { annotations: before = {}, ...others } = metadata;
  const { [CONFIG_ANNOTATION]: _, ...kept } = before;
  const annotations = value === null ? kept : { ...kept, [CONFIG_ANNOTATION]: value };
  return {
    ...template,
    metadata: Object.keys(annotations).length === 0 ? others : { ...others, annotations },
  };
}
