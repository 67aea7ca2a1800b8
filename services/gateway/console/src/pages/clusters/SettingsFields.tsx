// What is set for a cluster beside how it is reached.

import { useTranslation } from 'react-i18next';

import type { ClusterSettings } from '../../api/clusters';
import { CheckField, ChoiceField, NumberField, TextField } from '../../parts/fields';
import { lines } from '../nodes/settings';

export type SettingsForm = Omit<ClusterSettings, 'space_quota' | 'open_to'> & { space_quota: string; open_to: string };

export const USUAL: ClusterSettings = { drift: 'show', namespace_prefix: 'gantry-', pod_security: 'baseline', gateway: '', ingress_class: '', storage_class: '', isolate: true, open_to: [], space_quota: {} };

export function formOf(settings: ClusterSettings): SettingsForm {
  return { ...settings, open_to: (settings.open_to ?? []).join('\n'), space_quota: Object.entries(settings.space_quota).map(([name, amount]) => `${name}=${amount}`).join('\n') };
}

/** What the form does not show stays as it was. */
export function settingsOf(form: SettingsForm, was: ClusterSettings): ClusterSettings {
  const quota = lines(form.space_quota).map((line) => {
    const cut = line.indexOf('=');
    return cut < 0 ? [line, ''] : [line.slice(0, cut).trim(), line.slice(cut + 1).trim()];
  });
  return { ...was, ...form, open_to: lines(form.open_to), space_quota: Object.fromEntries(quota) as Record<string, string> };
}

/** `placed`, `roles`: the platform knows of spaces on several clusters, and binds roles. */
export function SettingsFields({ placed, roles }: { placed?: boolean; roles?: boolean }) {
  const { t } = useTranslation();
  return (
    <>
      <ChoiceField name="drift" label={t('clusters.drift')} help={t('clusters.driftHelp')} required options={(['show', 'correct'] as const).map((value) => ({ value, label: t(`clusters.drifts.${value}`) }))} />
      <TextField name="namespace_prefix" label={t('clusters.prefix')} help={t('clusters.prefixHelp')} required max={20} />
      <ChoiceField name="pod_security" label={t('clusters.podSecurity')} required options={(['restricted', 'baseline', 'privileged'] as const).map((value) => ({ value, label: t(`clusters.podSecurities.${value}`) }))} />
      <TextField name="gateway" label={t('clusters.gateway')} help={t('clusters.gatewayHelp')} placeholder="gateways/public" />
      <TextField name="ingress_class" label={t('clusters.ingressClass')} help={t('clusters.usual')} max={253} />
      <TextField name="storage_class" label={t('clusters.storageClass')} help={t('clusters.usual')} max={253} />
      <TextField name="space_quota" label={t('clusters.quota')} help={t('clusters.quotaHelp')} rows={3} placeholder={'requests.cpu=20\npods=200'} />
      {placed && (
        <>
          <TextField name="region" label={t('clusters.region')} help={t('clusters.placeHelp')} max={63} />
          <TextField name="zone" label={t('clusters.zone')} max={63} />
          <NumberField name="grace_seconds" label={t('clusters.grace')} help={t('clusters.graceHelp')} min={1} max={86_400} suffix={t('unit.seconds')} />
        </>
      )}
      {roles && (
        <>
          <CheckField name="roles" label={t('clusters.roles')} help={t('clusters.rolesHelp')} />
          <TextField name="groups_prefix" label={t('clusters.groupsPrefix')} help={t('clusters.groupsPrefixHelp')} max={63} placeholder="gantry:" />
        </>
      )}
      <CheckField name="isolate" label={t('clusters.isolate')} help={t('clusters.isolateHelp')} />
      <TextField name="open_to" label={t('clusters.openTo')} help={t('clusters.openToHelp')} rows={2} placeholder="monitoring" />
    </>
  );
}
