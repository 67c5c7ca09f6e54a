# Which federal holiday of the United States the day of the run's slot is, if it is one.

BEGIN {
    slot = ENVIRON["RAYSCHED_SLOT"]
    day = slot == "" ? strftime("%Y-%m-%d", systime(), 1) : substr(slot, 1, 10)
    split("Sunday Monday Tuesday Wednesday Thursday Friday Saturday", names, " ")
    split(day, part, "-")
    weekday = names[weekday_of(part[1] + 0, part[2] + 0, part[3] + 0)]

    fixed["01-01"] = "New Year's Day"
    fixed["06-19"] = "Juneteenth"
    fixed["07-04"] = "Independence Day"
    fixed["11-11"] = "Veterans Day"
    fixed["12-25"] = "Christmas Day"
    nth["01 Monday 3"] = "Birthday of Martin Luther King, Jr."
    nth["02 Monday 3"] = "Washington's Birthday"
    nth["05 Monday last"] = "Memorial Day"
    nth["09 Monday 1"] = "Labor Day"
    nth["10 Monday 2"] = "Columbus Day"
    nth["11 Thursday 4"] = "Thanksgiving Day"

    which = part[2] " " weekday " "
    holiday = fixed[part[2] "-" part[3]] nth[which int((part[3] + 6) / 7)]
    if (part[3] > 24) holiday = holiday nth[which "last"]  # enough for May, which has 31 days
    print day ", a " weekday ": " (holiday ? holiday : "no federal holiday")
}

# Returns 1 for a Sunday to 7 for a Saturday, by Sakamoto's method.
function weekday_of(year, month, day,    shift) {
    split("0 3 2 5 0 3 5 1 4 6 2 4", shift, " ")
    if (month < 3) year--
    return 1 + (year + int(year / 4) - int(year / 100) + int(year / 400) + shift[month] + day) % 7
}
