"""Makes and fills the domain controller of a test: `provision FOLDER ADDRESS`, `change FOLDER` with what to do as JSON on stdin."""

import json
import logging
import sys

from samba.auth import system_session
from samba.dsdb import DS_DOMAIN_FUNCTION_2008_R2
from samba.param import LoadParm
from samba.provision import provision
from samba.samdb import SamDB

what, folder = sys.argv[1:3]
if what == "provision":
    # The shares' access lists need file systems with attributes, and nobody asks for the shares.
    provision(
        logging.getLogger("provision"), system_session(), smbconf=folder + "/empty.conf", targetdir=folder, realm="CORP.EXAMPLE", domain="CORP",
        hostname="dc1", hostip=sys.argv[3], adminpass="Adm1n-Secret-9", serverrole="dc", dns_backend="NONE", skip_sysvolacl=True,
        dom_for_fun_level=DS_DOMAIN_FUNCTION_2008_R2,
    )
else:
    parameters = LoadParm()
    parameters.load(folder + "/smb.conf")
    database = SamDB(url=folder + "/private/sam.ldb", session_info=system_session(), lp=parameters)
    asked = json.load(sys.stdin)
    # One transaction: hundreds of people in a second instead of a minute.
    database.transaction_start()
    for name in asked["gone"]:
        database.delete(name)
    for name, then in asked["renamed"].items():
        database.rename(name, then)
    database.modify_ldif(asked["ldif"])
    for name, password in asked["passwords"].items():
        database.setpassword("(sAMAccountName=%s)" % name, password)
    database.transaction_commit()
