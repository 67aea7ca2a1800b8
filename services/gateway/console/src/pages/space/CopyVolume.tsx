// Copying a volume into one of another application.

import { Alert, App } from 'antd';
import { useTranslation } from 'react-i18next';

import { scheduler, type AppItem } from '../../api/scheduler';
import { volumes, type CopyTo, type Volume } from '../../api/volumes';
import { FormDialog } from '../../parts/dialogs';
import { ChoiceField, NumberField, TextField } from '../../parts/fields';
import { bytes } from '../../parts/format';
import { useAction, useList } from '../../parts/query';

interface Props {
  org: string;
  project: string;
  space: string;
  /** None: the dialog is closed. */
  volume: Volume | null;
  onClose: () => void;
}

export function CopyVolume({ org, project, space, volume, onClose }: Props) {
  const { t } = useTranslation();
  const { message } = App.useApp();
  const base = volumes.of(org, project, space);
  const apps = useList<AppItem>(['apps', org, project, space, 'names'], scheduler.apps(org, project, space), { enabled: volume !== null });
  const copy = useAction((to: CopyTo) => volumes.copy(base, volume!, { app: to.app, volume: to.volume.trim(), number: to.number ?? null, node: to.node?.trim() || null }), {
    refresh: [['volumes', base]],
    onDone: (done) => {
      void message.success(t('volumes.copied', { bytes: bytes(done.bytes) }));
      onClose();
    },
  });
  return (
    <FormDialog<CopyTo> open={volume !== null} title={t('volumes.copyOf', { name: volume?.name })} ok={t('volumes.copy')} pending={copy.isPending} error={copy.error} onClose={onClose} onSubmit={copy.mutate}>
      <Alert type="warning" showIcon title={t('volumes.copyHelp')} />
      <ChoiceField name="app" label={t('deploy.app')} required options={apps.items.map((app) => ({ value: app.name, label: app.name }))} />
      <TextField name="volume" label={t('volumes.copyTo')} help={t('volumes.copyToHelp')} required max={63} />
      <NumberField name="number" label={t('volumes.copyNumber')} help={t('volumes.copyNumberHelp')} />
      <TextField name="node" label={t('apps.node')} help={t('volumes.copyNodeHelp')} max={63} />
    </FormDialog>
  );
}
