"""Every refusal of the gateway: one tree of codes with the side at fault, a Russian text and what the caller can do.

Codes are part of the published contract (`GatewayFault/code`, `Error/code`, `ItemResult/code`): they are never
renamed, only added. Texts never repeat a value that was sent; placeholders hold limits, counts and names of fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_PLACEHOLDER = re.compile(r"\{\w+\}")


class Side(StrEnum):
    """Who has to change something; the value is the SOAP 1.1 fault code."""

    CLIENT = "Client"
    SERVER = "Server"
    MUST_UNDERSTAND = "MustUnderstand"
    VERSION = "VersionMismatch"


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the table of codes."""

    code: str
    side: Side
    message: str
    remedy: str

    @property
    def shown(self) -> str:
        """The text for tables of codes, where no value stands in its places yet."""
        return _PLACEHOLDER.sub("…", self.message)


def _table(side: Side, rows: str) -> Iterable[Kind]:
    for line in rows.strip().splitlines():
        code, message, remedy = (part.strip() for part in line.split("|"))
        yield Kind(code, side, message, remedy)


_CLIENT = """
request.method           | Метод HTTP не поддерживается: вызов передаётся методом POST | Отправьте вызов методом POST
request.too-large        | Тело запроса больше допустимых {limit} байт | Разделите данные на несколько вызовов; пределы сообщает GetLimits
request.timeout          | Тело запроса не получено за {limit} с | Повторите вызов; проверьте сеть
request.empty            | Пустое тело запроса | Передайте конверт SOAP 1.1
request.length           | Заголовок Content-Length неверен | Укажите верную длину или передавайте тело частями (chunked)
request.http             | Запрос не является правильным HTTP/1.1 | Проверьте заголовки и разметку частей тела
request.headers          | Заголовки запроса больше допустимых {limit} байт | Уменьшите заголовки
request.encoding         | Кодировка запроса не поддерживается или не соответствует содержимому | Используйте UTF-8
request.compressed       | Сжатые запросы не принимаются | Отправьте запрос без Content-Encoding
request.multipart        | Составные сообщения (MTOM, вложения) не принимаются | Передайте содержимое элементом base64 или частями файла
request.content-type     | Тип содержимого не поддерживается: нужен text/xml | Укажите Content-Type: text/xml; charset=utf-8
request.malformed        | Запрос не является правильным XML (строка {line}) | Проверьте разметку документа
request.doctype          | Объявление DOCTYPE запрещено | Уберите DOCTYPE и сущности
request.limits           | Превышен предел разбора: {what} не более {limit} | Упростите документ; пределы сообщает GetLimits
request.envelope         | Корневой элемент не является конвертом SOAP 1.1 или конверт нарушен | Соберите запрос по WSDL
request.body             | В теле конверта должен быть ровно один элемент — операция | Соберите запрос по WSDL
request.action           | SOAPAction указывает на другую операцию | Не передавайте SOAPAction или передайте значение из WSDL
request.operation        | Такой операции в службе нет | Проверьте адрес службы и имя операции по WSDL
request.schema           | Запрос не соответствует схеме службы | Исправьте поля, перечисленные в errors
field.missing            | Обязательное поле не передано | Заполните поле
field.unknown            | Неизвестное или стоящее не на своём месте поле | Сверьте состав и порядок полей со схемой
field.format             | Значение поля не соответствует формату | Сверьте формат со схемой
field.length             | Длина значения поля вне допустимых пределов | Сверьте длину со схемой
field.range              | Значение поля вне допустимых пределов | Сверьте пределы со схемой
field.count              | Повторений поля больше допустимого | Разделите данные на несколько вызовов
access.no-credentials    | Не передано имя и пароль клиента | Передайте WS-Security UsernameToken (PasswordText) или HTTP Basic
access.two-credentials   | Передано больше одного удостоверения клиента | Оставьте одно: UsernameToken, HTTP Basic или сертификат
access.password-digest   | PasswordDigest не поддерживается: секреты хранятся только хешами | Используйте PasswordText по защищённому каналу
access.security-header   | Заголовок wsse:Security нарушен | Соберите заголовок по WS-Security UsernameToken Profile 1.0
access.timestamp         | Метка времени wsu:Timestamp недействительна или истекла | Проверьте часы клиента
access.denied            | Неверное имя или пароль клиента | Проверьте учётные данные
access.secret-expired    | Срок действия секрета истёк | Получите новый секрет у администратора
access.secret-not-yet    | Срок действия секрета ещё не наступил | Проверьте дату начала действия
access.secret-revoked    | Секрет отозван | Получите новый секрет у администратора
access.client-disabled   | Клиент отключён | Обратитесь к администратору
access.certificate       | Сертификат клиента не зарегистрирован или недействителен | Обратитесь к администратору
access.forbidden         | Операция не разрешена клиенту | Запросите право у администратора; разрешённое сообщает GetAllowedOperations
access.rate              | Превышен предел запросов в минуту: {limit} | Повторите через указанное время
client.login             | Имя клиента: от 3 до 64 знаков — латинские буквы, цифры, точка, дефис, подчёркивание | Исправьте имя
client.exists            | Клиент с таким именем уже есть | Выберите другое имя
client.unknown           | Клиента с таким именем нет | Список клиентов: dn-gateway client list
client.right             | Неизвестное право: правами служат имена операций служб | Сверьте имя с описанием служб
client.scope             | Область видимости не соответствует виду клиента | MO — коды МО, INSURER — код СМО, FUND — без кодов
client.organisation      | Организации нет в справочнике | Загрузите справочник медицинских организаций или исправьте код
client.secret            | Секрет должен содержать от 16 до 256 знаков | Задайте другой секрет или дайте шлюзу создать его
client.period            | Конец срока действия раньше начала или уже прошёл | Проверьте даты
client.rate              | Предел запросов в минуту должен быть не меньше 1 | Исправьте предел
client.certificate       | Отпечаток сертификата — 64 шестнадцатеричных знака SHA-256, не занятый другим клиентом | Проверьте отпечаток
organisation.required    | Клиенту доступно несколько организаций: укажите organisation | Передайте код МО
object.not-found         | Объект не найден | Проверьте идентификатор
conflict.request-reused  | Этот requestId уже использован с другим содержанием | Используйте новый requestId для нового вызова
conflict.version         | Запись изменена после чтения: ожидаемая версия устарела | Прочитайте запись заново и повторите
conflict.duplicate-item  | Запись встречается в этом вызове более одного раза | Оставьте одно изменение записи в одном вызове
conflict.external-id     | Такой externalId уже есть у другой записи организации | Используйте свободный externalId
search.criteria          | Недостаточно условий поиска: нужен ЕНП, или СНИЛС и дата рождения, или фамилия, имя и дата рождения | Дополните условия
person.enp-format        | ЕНП должен состоять из 16 цифр | Проверьте ЕНП
person.enp-check         | Контрольный разряд ЕНП не сходится | Проверьте ЕНП
person.snils-format      | СНИЛС должен состоять из 11 цифр | Проверьте СНИЛС
person.snils-check       | Контрольное число СНИЛС не сходится | Проверьте СНИЛС
person.name              | Имя содержит недопустимые знаки или не заполнено | Допустимы буквы, пробел, дефис, апостроф, точка
person.birth-date        | Дата рождения в будущем или ранее 1890 года | Проверьте дату
person.sex               | Пол задаётся кодом 1 или 2 | Проверьте код
person.unknown           | Застрахованное лицо не найдено | Проверьте ЕНП поиском FindPerson
person.dead              | Застрахованное лицо умерло | Запись не добавляется и не ведётся
person.not-insured       | Лицо не застраховано в регионе | Запись не добавляется
diagnosis.format         | Код диагноза не имеет формы МКБ-10 | Пример формы: I10 или I20.8
diagnosis.unknown        | Кода диагноза нет в действующем издании МКБ-10 | Проверьте код
diagnosis.not-terminal   | Диагноз указан рубрикой, имеющей подрубрики | Укажите код с подрубрикой
diagnosis.outside        | Диагноз не входит в перечень диспансерного наблюдения | Проверьте код по приказам 168н и 548н
diagnosis.same           | Диагноз записи уже таков | Изменение не требуется
diagnosis.date-future    | Дата установления диагноза в будущем | Проверьте дату
diagnosis.date-before-birth | Дата раньше даты рождения | Проверьте дату
observation.elsewhere    | Лицо уже состоит под наблюдением по этому заболеванию в другой организации | Запись не добавляется
observation.exists       | Лицо уже состоит под наблюдением организации по этому заболеванию | Измените имеющуюся запись
observation.overlap      | Период пересекается с прежним наблюдением лица по этому заболеванию | Укажите дату после окончания прежнего наблюдения
observation.not-open     | Наблюдение по записи завершено | Откройте запись заново (ReopenEntry) или добавьте новую
observation.open         | Наблюдение по записи не завершено | Изменение не требуется
observation.annulled     | Запись аннулирована | Добавьте новую запись
observation.date-future  | Дата начала наблюдения в будущем | Проверьте дату
observation.date-before-diagnosis | Дата раньше начала наблюдения, установления диагноза или рождения | Проверьте даты
plan.empty               | Не указан ни один планируемый месяц | Укажите от 1 до 24 месяцев
plan.format              | Месяц задаётся в виде ГГГГ-ММ | Проверьте значение
plan.repeated            | Месяц указан дважды | Уберите повтор
plan.range               | Месяц плана раньше текущего года или позже чем через 24 месяца | Проверьте месяцы
visit.date-future        | Дата проведения в будущем | Проверьте дату
visit.date-before        | Дата проведения раньше начала наблюдения | Проверьте дату
visit.after-death        | Дата проведения позже даты смерти | Проверьте дату
visit.place              | Неизвестный код места проведения | Справочник: GetDictionary(PLACES)
visit.result             | Неизвестный код результата | Справочник: GetDictionary(RESULTS)
visit.no-show            | Неявка указывается местом и результатом вместе | Место «не явился» требует результата «Не явился» и наоборот
visit.removal            | Результат «Снят с диспансерного учета» указывается тогда и только тогда, когда есть исключение | Заполните дату и причину исключения или измените результат
visit.repeated           | На эту дату проведение уже внесено | Аннулируйте прежнее (AnnulVisit) или измените дату
visit.annulled           | Сведения о проведении уже аннулированы | Изменение не требуется
visit.ended-entry        | Проведение завершило наблюдение: сначала откройте запись | Вызовите ReopenEntry, затем AnnulVisit
doctor.unknown           | Врача нет в справочнике организации на эту дату | Дополните справочник: SaveDoctors
doctor.incomplete        | У врача в справочнике не заполнен тип | Заполните тип врача: SaveDoctors
doctor.type              | Неизвестный тип врача | Справочник: GetDictionary(DOCTOR_TYPES)
doctor.type-differs      | Тип врача не совпадает со справочником организации | Исправьте тип или справочник
doctor.specialty         | Неизвестный код специальности | Справочник: GetDictionary(SPECIALTIES)
doctor.dates             | Дата окончания раньше даты начала, или периоды врача пересекаются | Проверьте даты
exclusion.pair           | Дата и причина исключения указываются только вместе | Заполните оба поля или ни одного
exclusion.reason         | Неизвестный код причины исключения | Справочник: GetDictionary(EXCLUSION_REASONS)
exclusion.date-future    | Дата исключения в будущем | Проверьте дату
exclusion.date-before    | Дата исключения раньше начала наблюдения или даты осмотра | Проверьте дату
reopen.impossible        | Запись нельзя открыть заново | Причина исключения или состояние лица этого не допускают
reason.empty             | Не указана причина исправления | Заполните reason
list.period              | Укажите либо месяц, либо квартал в допустимых пределах | year и month (1..12) либо quarter (1..4)
list.type                | Неизвестный тип списка | Справочник: GetDictionary(LIST_TYPES)
list.edition             | Неизвестная редакция списка | CURRENT или CLOSED
list.group               | Неизвестная группа диагнозов | Справочник: GetDictionary(DIAGNOSIS_GROUPS)
list.page                | Номер первой записи или количество записей вне пределов | startRecord от 1, recordCount от 1 до {limit}
list.snapshot-expired    | Срок хранения снимка списка истёк | Запросите список без snapshotId
list.not-closed          | Период не закрыт: закрытой редакции списка нет | Запросите редакцию CURRENT
list.choice-differs      | Условия не совпадают с условиями снимка | Повторите условия первого вызова или не передавайте snapshotId
dictionary.unknown       | Такого справочника нет | Список справочников: GetDictionary(DICTIONARIES)
dictionary.file          | Файл справочника не распознан: {what} | Проверьте формат файла
load.columns             | В строке заголовка нет обязательных столбцов: {what} | Сверьте файл с описанием формата
load.columns-unknown     | В строке заголовка есть неизвестные или повторные столбцы | Сверьте файл с описанием формата
load.line                | Строка не разбирается: число столбцов не совпадает с заголовком | Исправьте строку
load.insurer             | Код страховой организации не найден | Загрузите справочник страховых организаций
load.organisation        | Код медицинской организации не найден | Загрузите справочник медицинских организаций
load.date                | Дата не имеет формы ГГГГ-ММ-ДД | Исправьте дату
load.file                | Файл не читается: {what} | Проверьте файл
load.encoding            | В строке есть знаки не в кодировке файла | Сохраните файл в UTF-8 или windows-1251
load.policy              | Вид или номер полиса не соответствует формату | Вид — код из описания формата; номер — до 20 букв и цифр
load.insured             | Признак страхования в регионе задаётся кодом 1 или 0 | Проверьте код
load.date-future         | Дата прикрепления в будущем | Проверьте дату
person.death-date        | Дата смерти в будущем или раньше даты рождения | Проверьте дату
load.repeated            | ЕНП повторяется в файле | Оставьте одну строку
indicator.unknown        | Неизвестный показатель | Справочник: GetDictionary(INDICATORS)
indicator.period         | Год или месяц вне допустимых пределов, или месяц ещё не начался | year и month (1..12) начавшегося месяца
indicator.part           | Неизвестная часть показателя | NUMERATOR, DENOMINATOR или GAP
indicator.group          | Группа диагнозов показателя не найдена или не имеет диапазонов | Сверьте справочники INDICATORS и DIAGNOSIS_GROUPS
indicator.targets        | Файл целевых значений не принят: {what} | Исправьте файл и загрузите его целиком
month.closed             | Период уже закрыт | Повторное закрытие не требуется
month.not-over           | Период ещё не закончился | Закройте период после его окончания
month.order              | Более поздний период закрыт | Откройте закрытые периоды по порядку, начиная с последнего
month.not-closed         | Период не закрыт | Открывать нечего
export.format            | Неизвестный формат выгрузки | XML, CSV, XLSX или DBF
export.delivery          | Неизвестный способ получения файлов | DOWNLOAD — забрать по операции, MAILBOX — в абонентский пункт
export.start             | Номер первой записи выгрузки должен быть не меньше 1 | Исправьте startRecord
export.count             | Записей в файле должно быть от 1 до {limit} | Исправьте recordsPerFile
upload.mode              | Неизвестный способ загрузки списка | MERGE
upload.already           | Файл с таким содержанием уже загружен операцией {operation} | Повторная загрузка не требуется
upload.organisation      | Запись относится к другой медицинской организации | Передавайте записи каждой организации отдельным файлом от её имени
upload.person-differs    | Запись с таким externalId ведётся по другому лицу | Проверьте externalId и ЕНП
upload.diagnosis-differs | Запись с таким externalId ведётся по другому заболеванию | Измените диагноз (ChangeDiagnosis) или передайте другой externalId
upload.repeated          | Запись повторяется в файле | Оставьте одну запись
mark.name                | Имя файла реестра не распознано | Имя архива — как ZGLV/FILENAME: вид, отправитель, получатель, _ГГММ и номер пакета
mark.period              | Файл реестра относится к другому отчётному периоду | Укажите период файла
mark.organisation        | Случай другой медицинской организации или организации нет в справочнике | Передавайте реестры своей организации
mark.repeated            | Номер случая IDCASE повторяется в файле | Номер случая должен быть один в файле
mark.code                | Неизвестный признак диспансерного наблюдения | DN — 1, 2, 4, 6; PR_D_N и PR_DS2_N — 1, 2, 3
mark.person              | Лицо не определено: нет ЕНП, а по фамилии, имени, отчеству и дате рождения найдено не одно лицо | Укажите ЕНП
mark.person-differs      | Лицо с этим ЕНП носит другое имя и родилось в другой день | Проверьте ЕНП случая
mark.newborn             | Случай ребёнка по полису представителя: лицо не определяется | Внесите запись, когда у ребёнка будет полис
mark.refused             | Случай отклонён плательщиком целиком | Признаки такого случая не применяются; исправьте случай и передайте его заново
mark.older               | Признак раньше последнего изменения записи: изменение не отменяется | Исправьте запись, если прав реестр
mark.not-observed        | Снятие с наблюдения, под которым лицо не состоит | Проверьте диагноз случая
mark.date-future         | Дата случая в будущем | Проверьте дату
mark.taken-back          | Случай отозван: запись, которую он внёс или завершил, требует проверки | Проверьте запись и исправьте её (ExcludeEntries, ReopenEntry, AnnulEntry) или оставьте
changes.token            | Метка ленты изменений не распознана | Передайте метку из ответа GetChanges или GetList без изменений
changes.token-scope      | Метка относится к другой организации | Передайте метку этой организации
changes.token-expired    | Метка ленты изменений устарела: часть изменений уже не хранится | Загрузите список заново (GetList) и продолжайте с его changeToken
operation.too-many       | У клиента уже {limit} незаконченных операций | Дождитесь их конца (ListOperations) или прервите (AbortOperation)
operation.kind           | Неизвестный вид или состояние операции | Сверьте значение с описанием службы
file.name                | Имя файла пусто, длиннее 200 знаков или содержит недопустимые знаки | Имя без каталогов и управляющих знаков
file.name-differs        | Имя не совпадает с именем первой части файла | Проверьте fileId или начните новый файл
file.offset              | Часть файла должна начинаться с байта {expected} | Продолжайте передачу с этого места
file.part-size           | Часть файла пуста или больше {limit} байт | Разделите файл на части; предел сообщает GetLimits
file.too-large           | Файл больше допустимых {limit} байт | Разделите данные на несколько файлов
file.sha256              | Контрольная сумма не совпадает с содержимым файла | Передайте файл заново
file.complete            | Файл уже принят целиком | Передайте изменённый файл как новый
file.incomplete          | Файл принят не целиком | Передайте остальные части, последнюю с last
file.content             | Укажите либо fileId, либо fileName с content | Оставьте один способ
file.method              | Метод HTTP не поддерживается: файлы передаются методами GET, HEAD и PUT | Сверьте метод с описанием
file.range               | Начало или длина части вне пределов файла | Сверьте размер файла
mailbox.contact          | Адрес почты или HTTP для извещений не принимается | Почта вида имя@узел; адрес http:// или https:// до 500 знаков
file.format              | Формат файла не распознан: {what} | Принимаются XML, CSV, DBF и DN_LIST, в том числе в ZIP
file.archive             | Архив не принимается: {what} | Передайте ZIP с одним файлом списка
file.structure           | Файл нарушен: {what} | Исправьте файл и загрузите его целиком
reconcile.running        | Сверка с застрахованными уже идёт: операция {operation} | Дождитесь её окончания или прервите её
reconcile.none           | Нет сверки, которая ждёт решения | Решать нечего
reconcile.period         | Сверить можно только закончившийся месяц | Укажите прошедший месяц
reconcile.older          | Уже применена сверка более позднего месяца: {month} | Сверьте более поздний месяц; прошлый можно посмотреть пробно
reconcile.extract        | Выписка прикреплений заменена более поздней сверкой | Начните сверку заново
reconcile.gone           | Данные этой сверки удалены по сроку хранения | Откажитесь от неё (reconcile refuse) и начните сверку заново
job.begun                | Период {period} этого задания уже начат: {by} | Начать его ещё раз: job run --again
month.not-stopped        | Ежемесячная обработка этого месяца не остановлена отказом | Состояние показывает month list
setting.invalid          | Неверное значение настройки {name} | Сверьте значение с описанием настроек
setting.file             | Файл настроек не читается | Проверьте путь (--config, DN_GATEWAY_CONFIG) и разметку TOML
"""

_OTHER = (
    Kind("request.soap-version", Side.VERSION, "Поддерживается только SOAP 1.1", "Используйте конверт SOAP 1.1"),
    Kind(
        "request.must-understand",
        Side.MUST_UNDERSTAND,
        "Обязательный заголовок SOAP не поддерживается",
        "Уберите заголовок или признак mustUnderstand",
    ),
)

_SERVER = """
server.error    | Внутренняя ошибка; сообщите администратору номер запроса | Повторите позже; номер запроса есть в заголовке X-Request-Id
server.busy     | Сервер занят | Повторите через указанное время
server.disk-full | Нет места на диске | Освободите место и повторите
operation.lost  | Работа не закончена: исполнитель остановлен и попытки исчерпаны | Повторите вызов; журналы исполнителя — у администратора
operation.aborted | Работа прервана по требованию | Повторите вызов, когда понадобится
upstream.off    | Источник сведений о застрахованных не настроен | Задайте настройки ferzl_url
upstream.down   | Источник сведений о застрахованных не отвечает | Повторите позже
upstream.fault  | Источник сведений о застрахованных ответил отказом SOAP | Сверьте версию пространств имён (ferzl_version) и ключ доступа
upstream.refused | Источник сведений о застрахованных отказал: {what} | Код отказа — у оператора источника
upstream.unusable | Ответ источника сведений о застрахованных нельзя использовать: {what} | Лицо остаётся без изменений до следующего ответа
upstream.endless | Источник сведений о застрахованных не закончил начатый запрос за {hours} ч | Выясните причину у оператора источника и начните сверку заново
server.database | База данных временно недоступна | Повторите через указанное время
store.embedded  | Встроенный сервер PostgreSQL не запускается: {what} | Устраните причину; журнал сервера — log/postgresql.log в каталоге данных
store.program   | Программа {program} не найдена | Установите клиентские программы PostgreSQL
store.dump      | Программа {what} завершилась с ошибкой | Проверьте адрес базы, свободное место и файл
store.not-empty | База данных не пуста | Восстанавливайте в новую пустую базу
demo.running    | Демонстрация уже работает в этом каталоге данных | Остановите её или укажите другой каталог (--data)
demo.port       | Порт {port} занят | Укажите другой порт (--port)
demo.not-ready  | Шлюз не ответил о готовности вовремя | Посмотрите сообщения процессов выше
store.version   | Нужен PostgreSQL 15 или новее, найден {found} | Обновите сервер базы данных
store.newer     | База данных новее программы: её версия схемы {found} | Обновите программу
store.older     | Схема базы данных не обновлена: {found}, нужна {needed} | Выполните dn-gateway migrate
store.installation | Настройка {name} выбрана при установке: в базе {stored} | Верните прежнее значение настройки
"""

KINDS: dict[str, Kind] = {
    kind.code: kind for kind in (*_table(Side.CLIENT, _CLIENT), *_OTHER, *_table(Side.SERVER, _SERVER))
}

ACCEPTED: dict[str, str] = {
    "ok": "Принято",
    "ok.closed-month": "Принято; месяц закрыт, изменение действует с первого открытого дня",
    "ok.outside": "Принято; диагноз не входит в перечень диспансерного наблюдения",
    "ok.same": "Принято; запись уже такова, изменений нет",
    "ok.confirmed": "Принято; лицо уже состоит под наблюдением, запись подтверждена",
    "ok.not-subject": "Принято; «не подлежит наблюдению» записей не изменяет",
    "ok.beginning": "Принято; дата начала наблюдения остаётся прежней: загрузка её не изменяет",
    "ok.aside": "Отложено: лицо пока не известно, запись будет внесена, когда источник сообщит о нём",
    "ok.child": "Принято; приказ 168н применяется с 18 лет, срок следующего осмотра не рассчитан",
}
"""Codes of `ItemResult` for items that took effect, with their Russian texts."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One place of a refused request: path such as ``items[3]/conductedOn``, code and text; never the value."""

    field: str
    code: str
    message: str


def field_error(field: str, code: str) -> FieldError:
    return FieldError(field, code, KINDS[code].message)


class GatewayError(Exception):
    """A named refusal. ``params`` fill the text; ``retry_after`` is in seconds."""

    def __init__(
        self,
        code: str,
        *,
        fields: Iterable[FieldError] = (),
        retry_after: int | None = None,
        **params: object,
    ) -> None:
        self.kind = KINDS[code]
        self.code = code
        self.message = self.kind.message.format(**params) if params else self.kind.message
        self.fields = tuple(fields)
        self.retry_after = retry_after
        super().__init__(f"{code}: {self.message}")
