// An address that is no page.

import { Result } from 'antd';
import { useTranslation } from 'react-i18next';
import { LinkButton } from '../parts/basics';

export default function Missing() {
  const { t } = useTranslation();
  return (
    <Result
      status="404"
      title={t('missing.title')}
      subTitle={t('missing.text')}
      extra={
        <LinkButton primary to="/">
          {t('menu.overview')}
        </LinkButton>
      }
    />
  );
}
