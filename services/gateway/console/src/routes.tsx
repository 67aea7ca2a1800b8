// Which page is where. Each page is loaded when it is first opened.

import { lazy, Suspense } from 'react';
import { Route, Routes, useParams } from 'react-router';

import { Loading } from './parts/Loading';
import { NeedPlace } from './parts/basics';
import { Shell } from './parts/Shell';
import { PlaceProvider } from './place';
import { useSession } from './session';

const Welcome = lazy(() => import('./pages/Welcome'));
const Overview = lazy(() => import('./pages/Overview'));
const Orgs = lazy(() => import('./pages/org/Orgs'));
const Org = lazy(() => import('./pages/org/Org'));
const Project = lazy(() => import('./pages/Project'));
const Apps = lazy(() => import('./pages/apps/Apps'));
const AppPage = lazy(() => import('./pages/apps/App'));
const Deploy = lazy(() => import('./pages/apps/Deploy'));
const Topology = lazy(() => import('./pages/space/Topology'));
const Kept = lazy(() => import('./pages/space/Kept'));
const Volumes = lazy(() => import('./pages/space/Volumes'));
const Rules = lazy(() => import('./pages/space/Rules'));
const Signs = lazy(() => import('./pages/space/Signs'));
const Alerts = lazy(() => import('./pages/space/Alerts'));
const Network = lazy(() => import('./pages/space/Network'));
const Images = lazy(() => import('./pages/images/Images'));
const Repositories = lazy(() => import('./pages/Repositories'));
const Runs = lazy(() => import('./pages/Runs'));
const RunPage = lazy(() => import('./pages/RunPage'));
const Catalog = lazy(() => import('./pages/Catalog'));
const Instances = lazy(() => import('./pages/Instances'));
const Billing = lazy(() => import('./pages/billing/Billing'));
const Nodes = lazy(() => import('./pages/nodes/Nodes'));
const NodePage = lazy(() => import('./pages/nodes/NodePage'));
const Addresses = lazy(() => import('./pages/addresses/Addresses'));
const Clusters = lazy(() => import('./pages/clusters/Clusters'));
const ClusterImport = lazy(() => import('./pages/clusters/Import'));
const ClusterPage = lazy(() => import('./pages/clusters/ClusterPage'));
const People = lazy(() => import('./pages/people/People'));
const User = lazy(() => import('./pages/people/User'));
const Import = lazy(() => import('./pages/people/Import'));
const Account = lazy(() => import('./pages/account/Account'));
const Access = lazy(() => import('./pages/org/Access'));
const Protection = lazy(() => import('./pages/org/Protection'));
const Clients = lazy(() => import('./pages/clients/Clients'));
const Client = lazy(() => import('./pages/clients/Client'));
const Security = lazy(() => import('./pages/security/Security'));
const Plans = lazy(() => import('./pages/billing/Plans'));
const FindImages = lazy(() => import('./pages/images/Search'));
const RepositoryPage = lazy(() => import('./pages/images/Repository'));
const ImagePage = lazy(() => import('./pages/images/Image'));
const Registry = lazy(() => import('./pages/registry/Registry'));
const Store = lazy(() => import('./pages/registry/Store'));
const AppTerminal = lazy(() => import('./pages/apps/AppTerminal'));
const Instance = lazy(() => import('./pages/apps/Instance'));
const Upstreams = lazy(() => import('./pages/Upstreams'));
const Audit = lazy(() => import('./pages/Audit'));
const Health = lazy(() => import('./pages/Health'));
const ApiDocs = lazy(() => import('./pages/ApiDocs'));
const Missing = lazy(() => import('./pages/Missing'));

export function Console() {
  const session = useSession();
  if (!session.signed_in) {
    return (
      <Suspense fallback={<Loading />}>
        <Welcome />
      </Suspense>
    );
  }
  return (
    <PlaceProvider>
      <Routes>
        <Route element={<Shell />}>
          <Route index element={<Overview />} />
          <Route path="sign-in" element={<Overview />} />
          <Route path="choose/:level" element={<Choose />} />
          <Route path="orgs" element={<Orgs />} />
          <Route path="orgs/:org">
            <Route index element={<Org />} />
            <Route path="access" element={<Access />} />
            <Route path="security" element={<Protection />} />
            <Route path="billing" element={<Billing />} />
            <Route path="projects/:project">
              <Route index element={<Project />} />
              <Route path="images" element={<Images />} />
              <Route path="images/:repository" element={<RepositoryPage />} />
              <Route path="images/:repository/:digest" element={<ImagePage />} />
              <Route path="registry" element={<Registry />} />
              <Route path="repositories" element={<Repositories />} />
              <Route path="runs" element={<Runs />} />
              <Route path="runs/:run" element={<RunPage />} />
              <Route path="spaces/:space">
                <Route index element={<Apps />} />
                <Route path="apps" element={<Apps />} />
                <Route path="apps/:app" element={<AppPage />} />
                <Route path="apps/:app/instances/:instance" element={<Instance />} />
                <Route path="apps/:app/terminal" element={<AppTerminal />} />
                <Route path="deploy" element={<Deploy />} />
                <Route path="services" element={<Network />} />
                <Route path="instances" element={<Instances />} />
                <Route path="topology" element={<Topology />} />
                <Route path="volumes" element={<Volumes />} />
                <Route path="configs" element={<Kept />} />
                <Route path="rules" element={<Rules />} />
                <Route path="signs" element={<Signs />} />
                <Route path="alerts" element={<Alerts />} />
              </Route>
            </Route>
          </Route>
          <Route path="images" element={<FindImages />} />
          <Route path="catalog" element={<Catalog />} />
          <Route path="nodes" element={<Nodes />} />
          <Route path="nodes/:node" element={<NodePage />} />
          <Route path="address-pools" element={<Addresses />} />
          <Route path="clusters" element={<Clusters />} />
          <Route path="clusters/import" element={<ClusterImport />} />
          <Route path="clusters/:cluster" element={<ClusterPage />} />
          <Route path="me" element={<Account />} />
          <Route path="people" element={<People />} />
          <Route path="people/import" element={<Import />} />
          <Route path="people/:user" element={<User />} />
          <Route path="clients" element={<Clients />} />
          <Route path="clients/:client" element={<Client />} />
          <Route path="security" element={<Security />} />
          <Route path="price-plans" element={<Plans />} />
          <Route path="image-store" element={<Store />} />
          <Route path="upstreams" element={<Upstreams />} />
          <Route path="audit" element={<Audit />} />
          <Route path="health" element={<Health />} />
          <Route path="api/docs" element={<ApiDocs />} />
          <Route path="*" element={<Missing />} />
        </Route>
      </Routes>
    </PlaceProvider>
  );
}

function Choose() {
  const { level } = useParams();
  return <NeedPlace level={level === 'org' || level === 'project' ? level : 'space'} />;
}
