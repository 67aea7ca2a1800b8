// Deletes one image by its digest; the tags that go with it are shown first.

import { Alert, Flex, Tag as Label } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { registry, type Tag } from '../../api/registry';
import { DeleteByName } from '../../parts/dialogs';
import { short } from '../../parts/format';
import { useAction, useList } from '../../parts/query';
import { to } from '../../place';

export function DeleteImage({ org, project, repository, digest }: { org: string; project: string; repository: string; digest: string }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [asked, setAsked] = useState(false);
  const tags = useList<Tag>(['tags', org, project, repository, 'all'], registry.tags(org, project, repository), { enabled: asked });
  const drop = useAction(() => registry.removeImage(registry.image(org, project, repository, digest)), {
    done: t('imageGone.done'),
    refresh: [['tags', org, project, repository], ['images', org, project], ['history', org, project, repository]],
    onDone: () => void navigate(to.image(org, project, repository)),
  });
  const gone = tags.items.filter((one) => one.digest === digest);
  return (
    <DeleteByName name={short(digest)} title={t('imageGone.confirm', { digest: `${repository}@${short(digest)}` })} label={t('common.delete')} pending={drop.isPending} onOpen={() => setAsked(true)} onDelete={() => drop.mutate()}>
      <Alert
        type="warning"
        showIcon
        title={t('imageGone.text')}
        description={
          tags.isSuccess && (
            <Flex gap={4} wrap>
              {t(gone.length > 0 ? 'imageGone.tags' : 'imageGone.noTags')}
              {gone.map((one) => (
                <Label key={one.tag}>{one.tag}</Label>
              ))}
            </Flex>
          )
        }
      />
    </DeleteByName>
  );
}
