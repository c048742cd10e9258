// The walk of a clinic's system on a client that gSOAP generated from the served WSDLs; every answer, written by gSOAP
// from the objects it made, goes to an XML file of its step.
#include "soapDispensaryObservationBindingProxy.h"
#include "soapExchangeBindingProxy.h"
#include "DispensaryObservationBinding.nsmap"
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <unistd.h>

using std::string;
using std::vector;

static const int MODE = SOAP_C_UTFSTRING;
static const char *PASSWORD_TEXT =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText";
static struct soap *context;

static string env(const char *name) { return std::getenv(name); }

static vector<string> words(const string &text) {
    std::istringstream stream(text);
    vector<string> found;
    for (string word; stream >> word;) found.push_back(word);
    return found;
}

static string *text(const string &value) {
    string *made = soap_new_std__string(context);
    *made = value;
    return made;
}

static int *number(int value) {
    int *made = (int *)soap_malloc(context, sizeof(int));
    *made = value;
    return made;
}

static void secure() {
    context->header = soap_new_SOAP_ENV__Header(context);
    _wsse__Security *security = context->header->wsse__Security = soap_new__wsse__Security(context);
    security->UsernameToken = soap_new__wsse__UsernameToken(context);
    security->UsernameToken->Username = soap_strdup(context, std::getenv("LOGIN"));
    security->UsernameToken->Password = soap_new__wsse__Password(context);
    security->UsernameToken->Password->__item = soap_strdup(context, std::getenv("PASSWORD"));
    security->UsernameToken->Password->Type = soap_strdup(context, PASSWORD_TEXT);
}

static void check(int status) {
    if (status == SOAP_OK) return;
    soap_print_fault(context, stderr);
    std::exit(1);
}

template <class Answer> static void told(const string &step, const Answer &answer) {
    std::ofstream file(env("OUT") + "/" + step + ".xml");
    struct soap *writer = soap_new1(MODE);
    writer->os = &file;
    writer->namespaces = namespaces;
    soap_begin_send(writer);
    answer.soap_serialize(writer);
    if (answer.soap_put(writer, "answer", "") || soap_end_send(writer)) std::exit(2);
    soap_free(writer);
}

static void refused(const string &step, int status) {
    if (status == SOAP_OK || !context->fault || !context->fault->detail) {
        std::cerr << step << ": no fault\n";
        std::exit(3);
    }
    std::ofstream(env("OUT") + "/" + step + ".txt") << context->fault->faultcode << "\n" << context->fault->faultstring;
    told(step, *context->fault->detail->ns1__GatewayFault_);
}

template <class Request> static Request request() {
    Request made;
    made.requestId = soap_rand_uuid(context, "");
    return made;
}

static ns1__Conduct *conduct(const string &entry, const string &place, const string &result) {
    ns1__Conduct *made = soap_new_ns1__Conduct(context);
    made->entryId = entry;
    made->conductedOn = env("TODAY");
    made->place = place;
    made->result = result;
    made->doctorSnils = env("DOCTOR");
    made->doctorType = "1";
    return made;
}

static ns1__PlanChange *plan(const string &entry, int version, const vector<string> &months) {
    ns1__PlanChange *made = soap_new_ns1__PlanChange(context);
    made->entryId = entry;
    if (version) made->expectedVersion = number(version);
    made->plannedMonths = months;
    return made;
}

static ns1__Exclusion *exclusion(const string &entry) {
    ns1__Exclusion *made = soap_new_ns1__Exclusion(context);
    made->entryId = entry;
    made->excludedOn = env("TODAY");
    made->exclusionReason = "6";
    return made;
}

static ns1__GetList choice(const string &type) {
    ns1__GetList made;
    made.year = std::atoi(env("TODAY").substr(0, 4).c_str());
    made.month = number(std::atoi(env("TODAY").substr(5, 2).c_str()));
    made.listType = type;
    return made;
}

// one call with a token: what it is asked, what it answers, where that goes
#define CALL(proxy, operation, asked, answer, step) \
    secure(); \
    check(proxy.operation(&asked, answer)); \
    told(step, answer)

static void find(DispensaryObservationBindingProxy &lists, ns1__FindPerson asked, const string &step) {
    ns1__FindPersonResponse answer;
    CALL(lists, FindPerson, asked, answer, step);
}

static vector<string> add(DispensaryObservationBindingProxy &lists, const vector<string> &enps, const vector<string> &months) {
    ns1__AddEntries asked = request<ns1__AddEntries>();
    for (const string &enp : enps) {
        ns1__NewEntry *item = soap_new_ns1__NewEntry(context);
        item->enp = enp;
        item->diagnosis = "E11.9";
        item->plannedMonths.push_back(months[0]);
        asked.items.push_back(item);
    }
    ns1__NewEntry *first = asked.items[0];
    first->externalId = text("МИС №1 <&> «ё»");
    first->diagnosis = "I20.8";
    first->diagnosedOn = text("2024-05-06+03:00");
    first->plannedMonths = months;
    first->observedSince = text("2024-05-07");
    first->doctorSnils = text(env("DOCTOR"));
    ns1__AddEntriesResponse answer;
    CALL(lists, AddEntries, asked, answer, "add");
    vector<string> ids;
    for (ns1__ItemResult *result : answer.results) ids.push_back(result->id ? *result->id : "");
    return ids;
}

static void change(DispensaryObservationBindingProxy &lists, const vector<string> &ids, const vector<string> &months) {
    ns1__UpdatePlans plans = request<ns1__UpdatePlans>();
    plans.items = {plan(ids[0], 1, {months[1]}), plan(ids[1], 0, {}), plan(ids[2], 7, months)};
    ns1__UpdatePlansResponse planned;
    CALL(lists, UpdatePlans, plans, planned, "plan");

    ns1__ConductObservations visits = request<ns1__ConductObservations>();
    visits.items = {conduct(ids[0], "1", "1"), conduct(ids[1], "9", "8"), conduct(ids[3], "2", "9")};
    visits.items[2]->excludedOn = text(env("TODAY"));
    visits.items[2]->exclusionReason = text("1");
    ns1__ConductObservationsResponse conducted;
    CALL(lists, ConductObservations, visits, conducted, "conduct");

    ns1__ExcludeEntries ends = request<ns1__ExcludeEntries>();
    ends.items = {exclusion(ids[2]), exclusion(ids[3])};
    ns1__ExcludeEntriesResponse excluded;
    CALL(lists, ExcludeEntries, ends, excluded, "exclude");

    ns1__ReopenEntry reopen = request<ns1__ReopenEntry>();
    reopen.entryId = ids[2];
    reopen.reason = "внесено ошибочно";
    ns1__ReopenEntryResponse reopened;
    CALL(lists, ReopenEntry, reopen, reopened, "reopen");
}

static void read(DispensaryObservationBindingProxy &lists, const string &entry) {
    ns1__GetList page = choice("OBSERVED");
    LONG64 start = 1;
    page.startRecord = &start;
    page.recordCount = number(3);
    for (int count = 1;; count++) {
        ns1__GetListResponse answer;
        CALL(lists, GetList, page, answer, "page-" + std::to_string(count));
        start += answer.returnedRecords;
        page.snapshotId = text(answer.snapshotId);
        if (start > answer.totalRecords) break;
    }
    ns1__GetList one = choice("EXCLUDED"), none = choice("OBSERVED");
    none.enp = text(env("NOBODY"));
    ns1__GetListResponse one_row, no_row;
    CALL(lists, GetList, one, one_row, "list-one");
    CALL(lists, GetList, none, no_row, "list-none");
    ns1__GetEntry asked;
    asked.entryId = entry;
    ns1__GetEntryResponse history;
    CALL(lists, GetEntry, asked, history, "entry");
}

static void fail(DispensaryObservationBindingProxy &lists) {
    ns1__GetEntry missing;
    missing.entryId = "999999999";
    ns1__GetEntryResponse no_entry;
    secure();
    refused("fault", lists.GetEntry(&missing, no_entry));
    ns1__FindPerson empty;
    empty.enp = text("");
    empty.lastName = text("");
    ns1__FindPersonResponse nobody;
    secure();
    refused("fault-schema", lists.FindPerson(&empty, nobody));
}

static void exchange(ExchangeBindingProxy &common) {
    ns2__GetDictionary places;
    places.code = "PLACES";
    ns2__GetDictionaryResponse dictionary;
    CALL(common, GetDictionary, places, dictionary, "places");
    ns2__GetMyCalls between;
    soap_s2dateTime(context, std::getenv("FROM"), &between.from);
    soap_s2dateTime(context, std::getenv("TO"), &between.to);
    between.operation = text("UpdatePlans");
    ns2__GetMyCallsResponse calls;
    CALL(common, GetMyCalls, between, calls, "calls");
    ns2__Ping ping;
    ns2__PingResponse state;
    context->header = NULL;
    context->userid = std::getenv("LOGIN");
    context->passwd = std::getenv("PASSWORD");
    check(common.Ping(&ping, state));
    told("ping", state);
}

static string part(ExchangeBindingProxy &common, const string &step, string *file, LONG64 offset, const string &content,
                   const string *sha256) {
    ns2__PutFilePart asked = request<ns2__PutFilePart>();
    string path = env("FILE");
    asked.fileId = file;
    asked.fileName = path.substr(path.rfind('/') + 1);
    asked.offset = offset;
    asked.content.__ptr = (unsigned char *)content.data();
    asked.content.__size = (int)content.size();
    asked.last = sha256 != NULL;
    asked.sha256 = sha256 ? text(*sha256) : NULL;
    ns2__PutFilePartResponse answer;
    CALL(common, PutFilePart, asked, answer, step);
    return answer.fileId;
}

static void finish(ExchangeBindingProxy &common, const string &step, const string &work) {
    for (string state = "QUEUED"; state == "QUEUED" || state == "RUNNING";) {
        usleep(200000);
        ns2__GetOperation asked;
        asked.operationId = work;
        ns2__GetOperationResponse answer;
        CALL(common, GetOperation, asked, answer, step);
        state = answer.operation->state;
    }
}

static void load(DispensaryObservationBindingProxy &lists, ExchangeBindingProxy &common) {
    std::ifstream stream(env("FILE"), std::ios::binary);
    string content((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    string sha256 = env("SHA256"), file = part(common, "part-1", NULL, 0, content.substr(0, 50), NULL);
    part(common, "part-2", &file, 50, content.substr(50), &sha256);

    ns1__UploadList upload = request<ns1__UploadList>();
    upload.fileId = &file;
    ns1__UploadListResponse uploaded;
    CALL(lists, UploadList, upload, uploaded, "upload");
    finish(common, "loaded", uploaded.operationId);
    ns2__AbortOperation abort = request<ns2__AbortOperation>();
    abort.operationId = uploaded.operationId;
    ns2__AbortOperationResponse ended;
    CALL(common, AbortOperation, abort, ended, "ended");
}

static void collect(DispensaryObservationBindingProxy &lists, ExchangeBindingProxy &common) {
    ns1__ExportList asked = request<ns1__ExportList>();
    ns1__GetList same = choice("OBSERVED");
    asked.year = same.year;
    asked.month = same.month;
    asked.listType = same.listType;
    asked.recordsPerFile = number(1000);
    asked.delivery = text("MAILBOX");
    asked.format = text("CSV");
    ns1__ExportListResponse work;
    CALL(lists, ExportList, asked, work, "export");
    finish(common, "exported", work.operationId);
    ns2__ListOperations all;
    ns2__ListOperationsResponse operations;
    CALL(common, ListOperations, all, operations, "operations");
    ns2__ListFiles waiting;
    ns2__ListFilesResponse files;
    CALL(common, ListFiles, waiting, files, "files");
    ns2__GetFile first;
    first.fileId = files.files.back()->fileId;
    ns2__GetFileResponse file;
    CALL(common, GetFile, first, file, "file");
    ns2__ConfirmFile confirm = request<ns2__ConfirmFile>();
    confirm.fileId = first.fileId;
    ns2__ConfirmFileResponse confirmed;
    CALL(common, ConfirmFile, confirm, confirmed, "confirm");
}

int main() {
    context = soap_new1(MODE);
    DispensaryObservationBindingProxy lists(context);
    ExchangeBindingProxy common(context);
    vector<string> enps = words(env("ENPS")), months = words(env("MONTHS"));
    ns1__FindPerson by_enp, bare, named, nobody;
    by_enp.enp = text(enps.front());
    bare.enp = text(enps.back());
    named.lastName = text(env("LAST_NAME"));
    named.firstName = text(env("FIRST_NAME"));
    named.birthDate = text(env("BIRTH_DATE"));
    nobody.enp = text(env("NOBODY"));
    find(lists, by_enp, "find");
    find(lists, bare, "find-bare");
    find(lists, named, "find-named");
    find(lists, nobody, "find-none");
    enps.push_back("1234567890123456");
    vector<string> ids = add(lists, enps, months);
    change(lists, ids, months);
    read(lists, ids[0]);
    find(lists, by_enp, "find-again");
    fail(lists);
    exchange(common);
    context->userid = context->passwd = NULL;
    load(lists, common);
    collect(lists, common);
    return 0;
}
