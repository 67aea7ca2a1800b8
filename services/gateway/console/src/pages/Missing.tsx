// An address that is no page.

import { Result } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

export default function Missing() {
  const { t } = useTranslation();
  return (
    <Result
      status="404"
      title={t('missing.title')}
      subTitle={t('missing.text')}
      extra={
        <Link to="/" className="ant-btn ant-btn-primary">
          {t('menu.overview')}
        </Link>
      }
    />
  );
}
