// How an application stands on the Kubernetes cluster that it is on: what is in the way, and what others have changed.

import { Alert } from 'antd';
import { useTranslation } from 'react-i18next';

import type { OnCluster } from '../../api/clusters';
import { ClusterLink } from '../../parts/ClusterLink';

export function Standing({ on }: { on: OnCluster }) {
  const { t } = useTranslation();
  const drifted = on.drift.length > 0;
  const warnings = on.warnings ?? [];
  return (
    <Alert
      type={on.problem ? 'error' : drifted || warnings.length > 0 || !on.applied ? 'warning' : 'success'}
      showIcon
      title={<ClusterLink name={on.name}>{t('clusters.stands', { name: on.name })}</ClusterLink>}
      description={
        <>
          <p>{on.problem ?? t(on.applied ? 'clusters.applied' : 'clusters.notApplied')}</p>
          {drifted && (
            <>
              <ClusterLink name={on.name} tab="drift">
                {t('clusters.drifted')}
              </ClusterLink>
              <ul className="plain">
                {on.drift.map((one) => (
                  <li key={one.object}>{t('clusters.driftOf', { object: one.object, fields: one.fields.join(', '), managers: one.managers.join(', ') })}</li>
                ))}
              </ul>
            </>
          )}
          {warnings.length > 0 && (
            <>
              {t('clusters.warned')}
              <ul className="plain">
                {warnings.map((one) => (
                  <li key={one}>{one}</li>
                ))}
              </ul>
            </>
          )}
        </>
      }
    />
  );
}
