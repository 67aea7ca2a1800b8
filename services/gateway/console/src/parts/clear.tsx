// The cross that empties a field, with a name for those who do not see it.

import { CloseCircleFilled } from '@ant-design/icons';
import { useTranslation } from 'react-i18next';

export function useClear() {
  const { t } = useTranslation();
  return { clearIcon: <CloseCircleFilled aria-label={t('common.clear')} /> };
}
