// The frame of every page: place, menu, language, look, who is signed in.

import {
  AlertOutlined, ApiOutlined, AppstoreOutlined, AuditOutlined, BellOutlined, BranchesOutlined, CloudServerOutlined, ClusterOutlined, DashboardOutlined, DatabaseOutlined, DollarOutlined, EnvironmentOutlined, GatewayOutlined, GoldOutlined, HddOutlined, IdcardOutlined, KeyOutlined, SolutionOutlined, LogoutOutlined, PartitionOutlined, PlaySquareOutlined, SafetyOutlined, ShopOutlined, TagsOutlined, TeamOutlined, UserOutlined,
} from '@ant-design/icons';
import { Button, Dropdown, Layout, Menu, theme, type MenuProps } from 'antd';
import { Suspense, useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, Outlet, useLocation, useNavigationType } from 'react-router';

import { to, usePlace } from '../place';
import { signOut, useSession } from '../session';
import { Boundary } from './Boundary';
import { Loading } from './Loading';
import { useMay } from './may';
import { useAdministers, usePlatformAdmin } from './me';
import { PlaceSwitch } from './PlaceSwitch';
import { selected } from './selected';
import { LanguageSwitch, LookSwitch } from './Switches';

type Items = NonNullable<MenuProps['items']>;

/**
 * A new page begins at its top, and the keyboard in it: else Tab goes on behind the link of the page before. `back`: the browser
 * remembers where the page was.
 */
function useBeginning(pathname: string) {
  const main = useRef<HTMLDivElement>(null);
  const back = useNavigationType() === 'POP';
  const shown = useRef(pathname);
  useEffect(() => {
    if (shown.current === pathname) return;
    shown.current = pathname;
    if (!back) window.scrollTo(0, 0);
    // A field that the page itself has chosen keeps it.
    if (!main.current?.contains(document.activeElement)) main.current?.focus({ preventScroll: true });
  }, [pathname, back]);
  return main;
}

export function Shell() {
  const { t } = useTranslation();
  const { token } = theme.useToken();
  const { pathname } = useLocation();
  const main = useBeginning(pathname);
  const { org, project, space } = usePlace();
  const { user } = useSession();
  const admin = usePlatformAdmin();
  const operates = useMay('apps.read', {});
  const administers = useAdministers();
  const [collapsed, setCollapsed] = useState(false);
  const link = (key: string, icon: React.ReactNode, url: string) => ({ key, icon, label: <Link to={url}>{t(`menu.${key}`)}</Link> });
  const inSpace = (make: (o: string, p: string, s: string) => string) => (org && project && space ? make(org, project, space) : '/choose/space');
  const inProject = (make: (o: string, p: string) => string) => (org && project ? make(org, project) : '/choose/project');
  const group = (key: string, children: Items) => ({ key, type: 'group' as const, label: t(`menu.${key}`), children });
  const items: Items = [
    link('overview', <DashboardOutlined />, '/'),
    link('orgs', <TeamOutlined />, '/orgs'),
    group('run', [
      link('apps', <AppstoreOutlined />, inSpace(to.apps)),
      link('network', <GatewayOutlined />, inSpace(to.network)),
      link('alerts', <BellOutlined />, inSpace(to.alerts)),
      link('signs', <AlertOutlined />, inSpace(to.signs)),
      link('services', <DatabaseOutlined />, inSpace(to.instances)),
      link('catalog', <ShopOutlined />, '/catalog'),
    ]),
    group('build', [
      link('repositories', <BranchesOutlined />, inProject(to.repositories)),
      link('runs', <PlaySquareOutlined />, inProject(to.runs)),
      link('images', <GoldOutlined />, inProject(to.images)),
    ]),
    group('operate', [
      link('billing', <DollarOutlined />, org ? to.billing(org) : '/choose/org'),
      ...(operates ? [link('nodes', <ClusterOutlined />, '/nodes'), link('addresses', <EnvironmentOutlined />, '/address-pools')] : []),
      link('clusters', <CloudServerOutlined />, '/clusters'),
      ...(administers ? [link('audit', <AuditOutlined />, '/audit')] : []),
      link('health', <PartitionOutlined />, '/health'),
      link('api', <ApiOutlined />, '/api/docs'),
    ]),
    group('administer', [
      link('people', <IdcardOutlined />, '/people'),
      ...(administers ? [link('clients', <KeyOutlined />, '/clients'), link('upstreams', <SolutionOutlined />, '/upstreams')] : []),
      ...(admin ? [link('security', <SafetyOutlined />, '/security'), link('prices', <TagsOutlined />, '/price-plans'), link('store', <HddOutlined />, '/image-store')] : []),
    ]),
  ];
  return (
    <Layout className="shell">
      <a className="skip" href="#main">
        {t('shell.skip')}
      </a>
      <Layout.Header className="shell-header" style={{ background: token.colorBgContainer }}>
        <Link to="/" className="brand" aria-label="Gantry">
          <img src="/favicon.svg" alt="" />
          <span>Gantry</span>
        </Link>
        <PlaceSwitch />
        <div className="grow" />
        <LanguageSwitch />
        <LookSwitch />
        <Dropdown
          trigger={['click']}
          menu={{
            items: [
              { key: 'name', label: user?.name, disabled: true },
              { type: 'divider' },
              { key: 'account', icon: <UserOutlined />, label: <Link to="/me">{t('menu.account')}</Link> },
              { key: 'out', icon: <LogoutOutlined />, label: t('shell.signOut'), onClick: () => void signOut() },
            ],
          }}
        >
          <Button type="text" icon={<UserOutlined />} aria-label={t('shell.account')} data-testid="account">
            {user?.username}
          </Button>
        </Dropdown>
      </Layout.Header>
      <Layout>
        <Layout.Sider className="shell-sider" width={216} breakpoint="lg" collapsible collapsed={collapsed} onCollapse={setCollapsed} theme="light" style={{ background: token.colorBgContainer }}>
          <nav aria-label={t('shell.menu')}>
            <Menu mode="inline" items={items} selectedKeys={[selected(pathname)]} style={{ background: 'transparent', borderInlineEnd: 0 }} />
          </nav>
        </Layout.Sider>
        <Layout.Content>
          <div id="main" className="shell-main" tabIndex={-1} ref={main}>
            <Boundary at={pathname}>
              <Suspense fallback={<Loading />}>
                <Outlet />
              </Suspense>
            </Boundary>
          </div>
        </Layout.Content>
      </Layout>
    </Layout>
  );
}
