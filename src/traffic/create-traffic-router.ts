import type { TrafficCluster } from './cluster-access';
import { gatewayRouteShape } from './gateway-route';
import { virtualServiceShape } from './istio-virtual-service';
import { ingressUnit } from './nginx-ingress';
import { describeReach, replicaRatioUnit } from './replica-ratio';
import type { RouteShape, Services } from './route-shape';
import { serviceSelectorShape } from './service-selector';
import type { Selector } from './service-selector';
import { splitObject } from './split-object';
import { traefikServiceShape } from './traefik-service';
import type { TrafficAbilities, TrafficRouter } from './traffic-router';
import { unitsRouter } from './units-router';

/** Where the spec names what is released. */
const KEYS = 'spec.target.kubernetes';

/** Who splits the traffic, and by which objects. */
export type TrafficSettings =
  | { readonly kind: 'gatewayAPI'; readonly routes: readonly GatewayRouteRef[] }
  /** All Ingresses that lead to the service. */
  | { readonly kind: 'nginx'; readonly ingresses: readonly string[] }
  | { readonly kind: 'traefik'; readonly traefikService: string }
  | {
      readonly kind: 'istio';
      readonly virtualService: string;
      /** `networking.istio.io/v1` by default; `…/v1beta1` for Istio before 1.22. */
      readonly apiVersion?: string;
    }
  /** The selectors that make the stable Service point to the one track or the other. */
  | { readonly kind: 'serviceSelector'; readonly stable: Selector; readonly canary: Selector }
  | {
      readonly kind: 'replicas';
      readonly stableDeployment: string;
      readonly canaryDeployment: string;
      /** Pods of both tracks together. */
      readonly total: number;
    };

export interface GatewayRouteRef {
  readonly kind: 'HTTPRoute' | 'GRPCRoute';
  readonly name: string;
}

const ABILITIES = {
  gatewayAPI: {
    weights: 'percent',
    matches: ['header-value'],
    confirmedBy: 'controller',
    sentence:
      'the Gateway API splits by any percentage and routes by exact headers; it knows no cookies, and each route says whether its Gateway has taken a change.',
  },
  nginx: {
    weights: 'percent',
    matches: ['header', 'header-value', 'cookie'],
    confirmedBy: 'read-back',
    sentence:
      'NGINX splits by any percentage and routes by one header and one cookie, in the order header, cookie, weight; it does not say when a change is in force.',
  },
  traefik: {
    weights: 'percent',
    matches: [],
    confirmedBy: 'read-back',
    sentence:
      'a TraefikService splits by any percentage; headers and cookies are the IngressRoute’s, and it does not say when a change is in force.',
  },
  istio: {
    weights: 'percent',
    matches: ['header-value', 'cookie'],
    confirmedBy: 'read-back',
    sentence: 'a VirtualService splits by any percentage and routes by exact headers and by cookies.',
  },
  serviceSelector: {
    weights: 'all',
    matches: [],
    confirmedBy: 'read-back',
    sentence:
      'a Service selector sends everything to the one track or the other: 0 or 100 %, without headers or cookies.',
  },
} as const satisfies Readonly<Record<string, TrafficAbilities>>;

/**
 * The router that the settings name. Nothing is asked of the cluster before the first call.
 */
export function createTrafficRouter(
  cluster: TrafficCluster,
  services: Services,
  settings: TrafficSettings,
): TrafficRouter {
  const { namespace } = services;
  const one = (
    abilities: TrafficAbilities,
    ref: { apiVersion: string; kind: string; name: string },
    how: { shape: RouteShape; named: string },
  ) => unitsRouter(abilities, [splitObject(cluster, { ...ref, namespace }, { ...how, service: services.stable })]);
  switch (settings.kind) {
    case 'gatewayAPI': {
      const how = { shape: gatewayRouteShape(services), service: services.stable };
      const apiVersion = 'gateway.networking.k8s.io/v1';
      const units = settings.routes.map((route) => {
        const named = `${KEYS}.traffic.gatewayAPI.${route.kind === 'HTTPRoute' ? 'httpRoute' : 'grpcRoute'}`;
        return splitObject(cluster, { apiVersion, namespace, ...route }, { ...how, named });
      });
      return unitsRouter(ABILITIES.gatewayAPI, units);
    }
    case 'nginx':
      return unitsRouter(
        ABILITIES.nginx,
        settings.ingresses.map((ingress) => ingressUnit(cluster, ingress, services)),
      );
    case 'traefik': {
      const ref = { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', name: settings.traefikService };
      return one(ABILITIES.traefik, ref, {
        shape: traefikServiceShape(services),
        named: `${KEYS}.traffic.traefik.traefikService`,
      });
    }
    case 'istio': {
      const apiVersion = settings.apiVersion ?? 'networking.istio.io/v1';
      const ref = { apiVersion, kind: 'VirtualService', name: settings.virtualService };
      return one(ABILITIES.istio, ref, {
        shape: virtualServiceShape(services),
        named: `${KEYS}.traffic.istio.virtualService`,
      });
    }
    case 'serviceSelector': {
      const ref = { apiVersion: 'v1', kind: 'Service', name: services.stable };
      return one(ABILITIES.serviceSelector, ref, {
        shape: serviceSelectorShape(settings),
        named: `${KEYS}.service`,
      });
    }
    case 'replicas': {
      const abilities: TrafficAbilities = {
        weights: 'replicas',
        matches: [],
        confirmedBy: 'read-back',
        sentence: describeReach(settings.total),
      };
      return unitsRouter(abilities, [replicaRatioUnit(cluster, { ...settings, namespace })]);
    }
  }
}
