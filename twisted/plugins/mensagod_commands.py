"""The built-in commands of mensagod, for Twisted's plugin system to find: names only."""

from mensagod.commands import (
    entries,
    files,
    identity,
    keycards,
    login,
    organization,
    registration,
    sending,
    sessions,
    updates,
)

cancel = sessions.Cancel()
idle = sessions.Idle()
logout = sessions.Logout()
quit_ = sessions.Quit()

login_ = login.Login()
password = login.Password()
device = login.Device()

prereg = registration.Prereg()
regcode = registration.Regcode()

getwid = identity.GetWID()
iscurrent = identity.IsCurrent()
addentry = entries.AddEntry()
revoke = entries.Revoke()
orgrevoke = organization.OrgRevoke()
getcard = keycards.GetCard()
orgcard = keycards.OrgCard()
usercard = keycards.UserCard()
transfer = keycards.Transfer()

select = files.Select()
exists = files.Exists()
list_ = files.List()
download = files.Download()
getupdates = updates.GetUpdates()

send = sending.Send()
sendfast = sending.SendFast()
