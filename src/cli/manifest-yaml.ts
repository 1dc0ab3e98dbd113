import { stringify } from 'yaml';

/** A Kubernetes object and what people should know about it. */
export interface Manifest {
  /** Lines above the object. */
  readonly comment?: string;
  readonly object: object;
}

/** Anchors save lines, and cost those who edit one of two places. */
const WRITTEN_OUT = { aliasDuplicateObjects: false };

/** One document each, as `kubectl apply -f` takes them. */
export function manifestYaml(manifests: readonly Manifest[]): string {
  return manifests.map(({ comment, object }) => `---\n${comments(comment)}${stringify(object, WRITTEN_OUT)}`).join('');
}

function comments(text: string | undefined): string {
  return text === undefined
    ? ''
    : text
        .split('\n')
        .map((line) => `# ${line}\n`)
        .join('');
}
