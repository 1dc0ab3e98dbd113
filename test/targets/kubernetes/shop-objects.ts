import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';

interface Named {
  readonly namespace: string;
  /** Of the Deployment, the Service and the Ingress alike. */
  readonly name: string;
}

export function namespaceObject(name: string): KubernetesObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

/** An ordinary Deployment of one container, `web`, with pods of these labels. */
export function shopDeployment(
  { namespace, name }: Named,
  {
    image,
    replicas,
    labels = { app: name },
  }: { readonly image: string; readonly replicas: number; readonly labels?: Readonly<Record<string, string>> },
): KubernetesObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'web', image }] } },
    },
  };
}

/** An ordinary Service that finds these pods. */
export function shopService(
  { namespace, name }: Named,
  selector: Readonly<Record<string, string>> = { app: name },
): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { selector, ports: [{ port: 80, targetPort: 8080 }] },
  };
}

/** An Ingress whose one rule leads to the Service of its name. */
export function shopIngress({ namespace, name }: Named): KubernetesObject {
  const backend = { service: { name, port: { number: 80 } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace },
    spec: { rules: [{ host: 'shop.example', http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }] },
  };
}

/** One of NGINX's that leads to the Service `checkout`; who creates it says in which namespace. */
export function nginxIngress(name: string): KubernetesObject {
  const service = { name: 'checkout', port: { number: 80 } };
  const paths = [{ path: '/', pathType: 'Prefix', backend: { service } }];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name },
    spec: { ingressClassName: 'nginx', rules: [{ host: `${name}.example`, http: { paths } }] },
  };
}
